// From the cells of an event to a row of the columns, a metadata entry, or just a count.
#pragma once

#include <map>
#include <utility>

#include "cells.hpp"
#include "tables.hpp"

namespace perfkit {

struct Metadata {
    std::string name, process, thread, args;
};

class Recorder {
public:
    // Throws std::invalid_argument for columns that cannot be.
    explicit Recorder(const std::vector<ColumnSpec>& specs) {
        if (specs.size() > columns_limit) throw std::invalid_argument("too many columns");
        for (const ColumnSpec& spec : specs) {
            if (column_number(spec.name) >= 0) throw std::invalid_argument("a column named twice: " + spec.name);
            const std::uint64_t bit = std::uint64_t{1} << columns.size();
            const bool wide = spec.kind == Kind::time || spec.kind == Kind::integer;
            (wide ? wide_ : spec.kind == Kind::small ? small_ : text_) |= bit;
            columns.emplace_back(wide);
            names_.push_back(spec.name);
        }
        start_ = column_number("start");
        duration_ = column_number("duration");
        name_ = column_number("name");
        process_ = column_number("process");
        thread_ = column_number("thread");
    }

    int column_number(std::string_view name) const {
        const auto found = std::find(names_.begin(), names_.end(), name);
        return found == names_.end() ? -1 : static_cast<int>(found - names_.begin());
    }

    // Takes in a whole event. `offset` is that of the event.
    void record(Cells& cells, const Window& window, std::uint64_t offset) {
        defects.add(cells.notes);
        const Text& phase = cells.phase;
        if (phase.length == 1 && *phase.begin == 'X') [[likely]] {
            ++simple_phases_['X'];
            store_row(cells, window, offset);
        } else if (phase.length == 1 && *phase.begin < 0x80) {
            ++simple_phases_[*phase.begin];
            record_simple(cells, window, offset, *phase.begin);
        } else {
            record_odd(cells, window, offset);
        }
    }

    // The string that the column had last, if it can be told by its bytes alone: what is written the same is the same.
    struct Last {
        const Byte* bytes = nullptr;
        std::size_t length = 0;
        std::int32_t number = Text::unknown;
    };
    const Last& last(std::size_t column) const { return last_[column]; }

    // Number of events by phase.
    std::map<std::string, std::uint64_t> phases() const {
        std::map<std::string, std::uint64_t> all = odd_phases_;
        for (std::size_t c = 0; c < simple_phases_.size(); ++c) {
            if (simple_phases_[c] != 0) all[std::string(1, static_cast<char>(c))] += simple_phases_[c];
        }
        return all;
    }

    std::uint64_t rows = 0;
    std::vector<Column> columns;
    Strings strings;
    Defects defects;
    std::vector<Metadata> metadata;

private:
    static constexpr std::size_t metadata_limit = 1'000'000, phase_limit = 8;
    static constexpr Byte no_text[padding] = {};

    void record_simple(Cells& cells, const Window& window, std::uint64_t offset, Byte phase) {
        if (phase == 'M') store_metadata(cells, window, offset);
        if ((phase == 'i' || phase == 'I') && cells.memory_key_seen) {
            if (duration_ >= 0) cells.filled &= ~(std::uint64_t{1} << duration_);
            store_row(cells, window, offset);
        }
    }

    // An event whose phase is no single ASCII character as it stands in the file.
    void record_odd(Cells& cells, const Window& window, std::uint64_t offset) {
        const std::string phase = content(cells.phase);
        const Byte* const bytes = reinterpret_cast<const Byte*>(phase.data());
        const bool named = phase.size() <= phase_limit && is_utf8(bytes, bytes + phase.size());
        ++odd_phases_[named ? phase : "?"];
        if (phase == "X") store_row(cells, window, offset);
        if (phase.size() == 1) record_simple(cells, window, offset, bytes[0]);
    }

    void store_row(Cells& cells, const Window& window, std::uint64_t offset) {
        defects.add(cells.row_notes);
        if (start_ >= 0 && !cells.has(start_)) {
            defects.note(Defect::event_without_time, offset);
            return;
        }
        if (name_ >= 0 && !cells.has(name_)) {
            cells.fill(static_cast<std::size_t>(name_));
            cells.texts[static_cast<std::size_t>(name_)] = {.begin = no_text};
        }
        const auto row = static_cast<std::size_t>(rows);
        each_bit(cells.filled & wide_, [&](std::size_t column) { columns[column].put(row, cells.numbers[column]); });
        each_bit(cells.filled & small_, [&](std::size_t column) {
            columns[column].put(row, static_cast<std::int32_t>(cells.numbers[column]));
        });
        each_bit(cells.filled & text_, [&](std::size_t column) {
            const Text& text = cells.texts[column];
            columns[column].put(row, text.number != Text::unknown ? text.number : intern(text, last_[column], window));
        });
        ++rows;
    }

    template <class Action>
    static void each_bit(std::uint64_t bits, Action action) {
        for (; bits != 0; bits &= bits - 1) action(static_cast<std::size_t>(std::countr_zero(bits)));
    }

    std::int32_t intern(const Text& text, Last& last, const Window& window) {
        const Byte* bytes = text.begin;
        std::size_t length = text.length;
        if (!text.plain) {
            if (scratch_.size() < length + padding) scratch_.resize(length + padding);
            length = static_cast<std::size_t>(unescape(bytes, bytes + length, scratch_.data()) - scratch_.data());
            bytes = scratch_.data();
        }
        const bool cut = length > text_limit;
        if (cut) {
            length = text_limit;
            defects.note(Defect::oversized_value, window.offset_of(text.origin()));
        }
        const std::int32_t number = strings.intern(bytes, static_cast<std::uint32_t>(length));
        const Strings::Entry& entry = strings[static_cast<std::size_t>(number)];
        if (!entry.is_utf8 && !cut) defects.note(Defect::invalid_utf8, window.offset_of(text.origin()));
        if (entry.is_utf8 && !cut && text.plain && text.quoted) last = {entry.bytes, entry.length, number};
        return number;
    }

    void store_metadata(const Cells& cells, const Window& window, std::uint64_t offset) {
        if (metadata.size() >= metadata_limit) {
            defects.note(Defect::oversized_metadata, offset);
            return;
        }
        Metadata entry{field(cells, name_, window), field(cells, process_, window), field(cells, thread_, window), {}};
        if (cells.args.length > text_limit) {
            defects.note(Defect::oversized_value, window.offset_of(cells.args.begin));
        } else {
            entry.args = content(cells.args);
        }
        metadata.push_back(std::move(entry));
    }

    static std::string content(const Text& text) {
        std::string result(text.length, '\0');
        Byte* const bytes = reinterpret_cast<Byte*>(result.data());
        if (text.plain) {
            std::copy_n(text.begin, text.length, bytes);
        } else {
            result.resize(static_cast<std::size_t>(unescape(text.begin, text.begin + text.length, bytes) - bytes));
        }
        return result;
    }

    std::string field(const Cells& cells, int column, const Window& window) {
        if (!cells.has(column) || (text_ >> column & 1) == 0) return {};
        const Text& text = cells.texts[static_cast<std::size_t>(column)];
        std::string result = content(text);
        if (result.size() > text_limit) {
            defects.note(Defect::oversized_value, window.offset_of(text.origin()));
            result.resize(text_limit);
        }
        return result;
    }

    std::vector<std::string> names_;
    std::uint64_t wide_ = 0, small_ = 0, text_ = 0;  // a bit for each column of the sort
    int start_, duration_, name_, process_, thread_;
    std::array<Last, columns_limit> last_{};
    std::array<std::uint64_t, 128> simple_phases_{};
    std::map<std::string, std::uint64_t> odd_phases_;
    std::vector<Byte> scratch_;
};

}  // namespace perfkit
