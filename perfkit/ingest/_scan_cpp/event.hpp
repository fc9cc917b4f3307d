// One event: from its text to a row of the columns, a metadata entry, or just a count.
#pragma once

#include <map>
#include <stdexcept>
#include <utility>

#include "tables.hpp"
#include "value.hpp"

namespace perfkit {

inline constexpr std::size_t text_limit = std::size_t{1} << 20;

enum class Kind { time, integer, small, text, json, key };

struct ColumnSpec {
    std::string name;
    Kind kind;
    std::vector<std::string> keys;
    bool in_args;
};

struct Metadata {
    std::string name, process, thread, args;
};

class EventReader {
public:
    static constexpr std::size_t columns_limit = 64;

    // Throws std::invalid_argument for columns that cannot be.
    explicit EventReader(const std::vector<ColumnSpec>& specs) {
        if (specs.size() > columns_limit) throw std::invalid_argument("too many columns");
        event_keys_.add("ph", phase_key);
        event_keys_.add("args", args_key);
        for (const ColumnSpec& spec : specs) add_column(spec);
        event_keys_.settle();
        args_keys_.settle();
        start_ = column_number("start");
        duration_ = column_number("duration");
        name_ = column_number("name");
        process_ = column_number("process");
        thread_ = column_number("thread");
    }

    // Reads the event at `p` (its opening brace) and moves `p` after it (done) or to the offending byte (broken).
    // Nothing shows of an event that is not done.
    Step read(const Byte*& p, const Window& window) {
        begin(window);
        const Byte* const stop = read_members<false>(p + 1);
        if (stop == nullptr) {
            if (fault_ >= window.end) return Step::more;
            p = fault_;
            return Step::broken;
        }
        finish_event(window.offset_of(p));
        p = stop;
        return Step::done;
    }

    int column_number(std::string_view name) const {
        const auto found = std::find(names_.begin(), names_.end(), name);
        return found == names_.end() ? none : static_cast<int>(found - names_.begin());
    }

    // Number of events by phase.
    std::map<std::string, std::uint64_t> phases() const {
        std::map<std::string, std::uint64_t> all = other_phases_;
        if (spans_ != 0) all["X"] += spans_;
        return all;
    }

    std::uint64_t rows = 0;
    std::vector<ColumnChunks> columns;
    Strings strings;
    Defects defects;
    std::vector<Metadata> metadata;

private:
    static constexpr int none = -1, phase_key = columns_limit, args_key = columns_limit + 1;
    static constexpr std::size_t metadata_limit = 1'000'000, phase_limit = 8;

    // A piece of the window that is to become a string.
    struct Text {
        const Byte* begin = nullptr;
        std::uint32_t length = 0;
        bool escaped = false;
        bool quoted = false;

        const Byte* origin() const { return begin - quoted; }
    };

    struct Interned {
        const Byte* bytes = nullptr;
        std::uint32_t length = 0;
        std::int32_t number = none;
    };

    void add_column(const ColumnSpec& spec) {
        const std::size_t column = columns.size();
        if (column_number(spec.name) != none) throw std::invalid_argument("a column named twice: " + spec.name);
        Keys& keys = spec.in_args ? args_keys_ : event_keys_;
        for (const std::string& key : spec.keys) {
            if (keys.has(key)) throw std::invalid_argument("a key that is taken: " + key);
            keys.add(key, static_cast<int>(column));
        }
        names_.push_back(spec.name);
        kinds_[column] = spec.kind;
        is_text_[column] = spec.kind == Kind::text || spec.kind == Kind::json || spec.kind == Kind::key;
        is_memory_[column] = spec.name == "address" || spec.name == "total_allocated" || spec.name == "total_reserved";
        columns.emplace_back(spec.kind == Kind::time || spec.kind == Kind::integer);
    }

    void begin(const Window& window) {
        window_ = &window;
        filled_ = 0;
        phase_ = Text{};
        args_ = Text{};
        memory_key_seen_ = false;
        notes_.clear();
        row_notes_.clear();
    }

    const Byte* fail(const Byte* p) {
        fault_ = p;
        return nullptr;
    }

    // The members of the event, or of its args: from the byte after `{` to the byte after `}`; null after fail().
    template <bool in_args>
    const Byte* read_members(const Byte* p) {
        const Byte* const end = window_->end;
        p = skip_space(p, end);
        if (p >= end) return fail(p);
        if (*p == '}') return p + 1;
        for (;;) {
            if (*p != '"') return fail(p);
            bool escaped = false;
            const Byte* const key = p + 1;
            p = find_closing_quote(key, *window_, notes_, escaped);
            if (!closes_string(p, *window_)) return fail(end);
            const int meaning = find_key(in_args ? args_keys_ : event_keys_, key, static_cast<std::size_t>(p - key), escaped);
            p = skip_space(p + 1, end);
            if (p >= end || *p != ':') return fail(p);
            p = skip_space(p + 1, end);
            if (p >= end) return fail(p);
            p = read_member<in_args>(p, meaning);
            if (p == nullptr) return nullptr;
            p = skip_space(p, end);
            if (p >= end) return fail(p);
            if (*p == '}') return p + 1;
            if (*p != ',') return fail(p);
            p = skip_space(p + 1, end);
            if (p >= end) return fail(p);
        }
    }

    int find_key(const Keys& keys, const Byte* p, std::size_t length, bool escaped) {
        if (!escaped) [[likely]] return keys.find(p, length);
        const Byte* const stop = unescape(p, p + length, scratch(length));
        return keys.find(scratch_.data(), static_cast<std::size_t>(stop - scratch_.data()));
    }

    template <bool in_args>
    const Byte* read_member(const Byte* p, int meaning) {
        if (meaning == Keys::unknown) return skip_value(p);
        if constexpr (!in_args) {
            if (meaning == phase_key) return read_text(p, phase_);
            if (meaning == args_key) return *p == '{' ? read_args(p) : skip_value(p);
        }
        const auto column = static_cast<std::size_t>(meaning);
        if constexpr (in_args) memory_key_seen_ |= is_memory_[column];
        switch (kinds_[column]) {
            case Kind::time: return read_number<3>(p, column);
            case Kind::integer: case Kind::small: return read_number<0>(p, column);
            case Kind::text: return read_column_text(p, column);
            case Kind::json: return read_json(p, column);
            case Kind::key: return *p == '"' ? read_column_text(p, column) : read_scalar(p, column);
        }
        return fail(p);
    }

    const Byte* read_args(const Byte* p) {
        const Byte* const stop = read_members<true>(p + 1);
        if (stop != nullptr) args_ = {p, static_cast<std::uint32_t>(stop - p), false, false};
        return stop;
    }

    const Byte* skip_value(const Byte* p) {
        bool usable;
        return skip_value(p, usable);
    }

    // `usable`: neither null nor no JSON.
    const Byte* skip_value(const Byte* p, bool& usable) {
        usable = true;
        if (*p == '"') {
            Text text;
            return read_text(p, text);
        }
        if (*p == '[' || *p == '{') return skip_nested(p);
        return skip_token(p, usable);
    }

    const Byte* skip_nested(const Byte* p) {
        if (p[1] == p[0] + 2) return p + 2;  // `[]` and `{}`
        Nesting nesting;
        Step step;
        p = nesting.walk(p, *window_, notes_, step);
        return step == Step::done ? p : fail(step == Step::broken ? p : window_->end);
    }

    const Byte* skip_token(const Byte* p, bool& usable) {
        const unsigned digits = leading_digits(load_word(p));
        if (digits != 0 && digits != 8 && ends_token(p[digits])) return p + digits;
        const Byte* const stop = perfkit::skip_token(p, window_->end);
        const auto length = static_cast<std::size_t>(stop - p);
        if (length == 0) return fail(p);
        if (const void* const zero = std::memchr(p, 0, length)) return fail(static_cast<const Byte*>(zero));
        if (stop >= window_->end) return fail(stop);
        const bool literal = is_literal(p, stop);
        if (!literal) notes_.note(Defect::bare_value, window_->offset_of(p));
        usable = literal && *p != 'n';
        return stop;
    }

    // A string into `text`; anything else leaves it as it was.
    const Byte* read_text(const Byte* p, Text& text) {
        if (*p != '"') return skip_value(p);
        bool escaped = false;
        const Byte* const stop = find_closing_quote(p + 1, *window_, notes_, escaped);
        if (!closes_string(stop, *window_)) return fail(window_->end);
        text = {p + 1, static_cast<std::uint32_t>(stop - p - 1), escaped, true};
        return stop + 1;
    }

    const Byte* read_column_text(const Byte* p, std::size_t column) {
        if (*p != '"') return skip_value(p);
        fill(column);
        return read_text(p, texts_[column]);
    }

    // The raw text of a value, unless it is too long: then it is as if absent.
    const Byte* read_json(const Byte* p, std::size_t column) {
        bool usable;
        const Byte* const stop = skip_value(p, usable);
        if (stop == nullptr) return nullptr;
        const auto length = static_cast<std::size_t>(stop - p);
        if (length > text_limit) {
            row_notes_.note(Defect::oversized_value, window_->offset_of(p));
        } else if (usable) {
            fill(column);
            texts_[column] = {p, static_cast<std::uint32_t>(length), false, false};
        }
        return stop;
    }

    const Byte* read_scalar(const Byte* p, std::size_t column) {
        return *p == '[' || *p == '{' ? skip_nested(p) : read_json(p, column);
    }

    template <unsigned decimals>
    const Byte* read_number(const Byte* p, std::size_t column) {
        std::int64_t value;
        if (const Byte* const stop = read_plain_decimal<decimals>(p, value)) [[likely]] {
            put_number(p, column, value);
            return stop;
        }
        bool usable;
        const Byte* const stop = skip_value(p, usable);
        if (stop == nullptr || *p == '[' || *p == '{' || !usable) return stop;
        const Byte *first = p, *last = stop;
        if (*p == '"') {
            ++first, --last;
            while (first < last && is_space(*first)) ++first;
            while (first < last && is_space(last[-1])) --last;
        }
        const Decimal decimal = read_decimal(first, last, decimals, largest);
        if (decimal.reading == Reading::number) put_number(p, column, decimal.value);
        if (decimal.reading == Reading::out_of_range) row_notes_.note(Defect::number_out_of_range, window_->offset_of(p));
        return stop;
    }

    // Into a column of 32 bits an unsigned number goes as the signed one of the same bits: exporters write -1 as 4294967295.
    void put_number(const Byte* p, std::size_t column, std::int64_t value) {
        static constexpr std::int64_t small_limit = 0x7fffffff, unsigned_limit = 0xffffffff;
        if (kinds_[column] == Kind::small && (value > small_limit || value < -small_limit)) {
            if (value < 0 || value > unsigned_limit) {
                row_notes_.note(Defect::number_out_of_range, window_->offset_of(p));
                return;
            }
            value -= unsigned_limit + 1;
            if (value < -small_limit) return;
        }
        fill(column);
        numbers_[column] = value;
    }

    void fill(std::size_t column) { filled_ |= std::uint64_t{1} << column; }
    bool is_filled(int column) const { return column != none && (filled_ >> column & 1) != 0; }

    // ---------------------------------------------------------------------------------------------- the whole event

    void finish_event(std::uint64_t offset) {
        defects.add(notes_);
        const bool span = phase_.length == 1 && *phase_.begin == 'X';
        if (span) [[likely]] {
            ++spans_;
            store_row(offset);
            return;
        }
        const std::string phase = content(phase_);
        ++other_phases_[phase.size() > phase_limit || !is_utf8(bytes_of(phase), bytes_of(phase) + phase.size()) ? "?" : phase];
        if (phase == "M") {
            store_metadata(offset);
        } else if (phase == "X") {
            store_row(offset);
        } else if ((phase == "i" || phase == "I") && memory_key_seen_) {
            if (duration_ != none) filled_ &= ~(std::uint64_t{1} << duration_);
            store_row(offset);
        }
    }

    void store_row(std::uint64_t offset) {
        defects.add(row_notes_);
        if (start_ != none && !is_filled(start_)) {
            defects.note(Defect::event_without_time, offset);
            return;
        }
        if (name_ != none && !is_filled(name_)) {
            fill(static_cast<std::size_t>(name_));
            texts_[static_cast<std::size_t>(name_)] = {no_text, 0, false, false};
        }
        const std::size_t row = rows % ColumnChunks::rows;
        if (row == 0) {
            for (ColumnChunks& column : columns) column.begin_chunk();
        }
        for (std::uint64_t rest = filled_; rest != 0; rest &= rest - 1) {
            const auto column = static_cast<std::size_t>(std::countr_zero(rest));
            columns[column].put(row, is_text_[column] ? intern(column) : numbers_[column]);
        }
        ++rows;
    }

    std::int32_t intern(std::size_t column) {
        const Text& text = texts_[column];
        Interned& last = last_[column];
        if (!text.escaped && text.length == last.length && last.number != none && Strings::same_bytes(last.bytes, text.begin, text.length)) {
            return last.number;
        }
        const Byte* bytes = text.begin;
        std::size_t length = text.length;
        if (text.escaped) {
            const Byte* const stop = unescape(bytes, bytes + length, scratch(length));
            bytes = scratch_.data();
            length = static_cast<std::size_t>(stop - bytes);
        }
        const bool cut = length > text_limit;
        if (cut) {
            length = text_limit;
            defects.note(Defect::oversized_value, window_->offset_of(text.origin()));
        }
        const std::int32_t number = strings.intern(bytes, static_cast<std::uint32_t>(length));
        const Strings::Entry& entry = strings[static_cast<std::size_t>(number)];
        if (!entry.is_utf8) {
            if (!cut) defects.note(Defect::invalid_utf8, window_->offset_of(text.origin()));
        } else {
            last = {entry.bytes, entry.length, number};
        }
        return number;
    }

    void store_metadata(std::uint64_t offset) {
        if (metadata.size() >= metadata_limit) {
            defects.note(Defect::oversized_metadata, offset);
            return;
        }
        Metadata entry{cut_content(name_), cut_content(process_), cut_content(thread_), {}};
        if (args_.length > text_limit) {
            defects.note(Defect::oversized_value, window_->offset_of(args_.begin));
        } else {
            entry.args = content(args_);
        }
        metadata.push_back(std::move(entry));
    }

    std::string content(const Text& text) const {
        std::string result(reinterpret_cast<const char*>(text.begin), text.length);
        if (text.escaped) {
            Byte* const bytes = reinterpret_cast<Byte*>(result.data());
            result.resize(static_cast<std::size_t>(unescape(text.begin, text.begin + text.length, bytes) - bytes));
        }
        return result;
    }

    std::string cut_content(int column) {
        if (!is_filled(column) || !is_text_[static_cast<std::size_t>(column)]) return {};
        const Text& text = texts_[static_cast<std::size_t>(column)];
        std::string result = content(text);
        if (result.size() > text_limit) {
            defects.note(Defect::oversized_value, window_->offset_of(text.origin()));
            result.resize(text_limit);
        }
        return result;
    }

    static const Byte* bytes_of(const std::string& text) { return reinterpret_cast<const Byte*>(text.data()); }

    Byte* scratch(std::size_t length) {
        if (scratch_.size() < length + padding) scratch_.resize(length + padding);
        return scratch_.data();
    }

    static constexpr Byte no_text[padding] = {};

    std::vector<std::string> names_;
    Keys event_keys_, args_keys_;
    std::array<Kind, columns_limit> kinds_{};
    std::array<bool, columns_limit> is_text_{}, is_memory_{};
    int start_ = none, duration_ = none, name_ = none, process_ = none, thread_ = none;

    // The event that is being read.
    const Window* window_ = nullptr;
    const Byte* fault_ = nullptr;
    std::uint64_t filled_ = 0;  // a bit for each column that has a value
    std::array<std::int64_t, columns_limit> numbers_{};
    std::array<Text, columns_limit> texts_{};
    Text phase_, args_;
    bool memory_key_seen_ = false;
    Defects notes_, row_notes_;

    std::uint64_t spans_ = 0;  // events whose phase is "X"
    std::map<std::string, std::uint64_t> other_phases_;
    std::array<Interned, columns_limit> last_{};
    std::vector<Byte> scratch_;
};

}  // namespace perfkit
