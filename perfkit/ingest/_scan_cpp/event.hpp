// The text of one event: its members, and those of its args, into cells.
#pragma once

#include <stdexcept>

#include "recorder.hpp"
#include "shapes.hpp"
#include "value.hpp"

namespace perfkit {

class EventReader {
public:
    // Throws std::invalid_argument for columns that cannot be.
    explicit EventReader(const std::vector<ColumnSpec>& specs) : recorder(specs) {
        event_keys_.add("ph", phase_key);
        event_keys_.add("args", args_key);
        for (std::size_t column = 0; column < specs.size(); ++column) add_keys(specs[column], column);
        event_keys_.settle();
        args_keys_.settle();
    }

    // Reads the event at `p` (its opening brace) and moves `p` after it (done) or to the offending byte (broken).
    // Nothing shows of an event that is not done.
    Step read(const Byte*& p, const Window& window) {
        window_ = &window;
        cells_.clear();
        const Byte* const stop = read_members(p + 1);
        if (stop == nullptr) {
            if (fault_ >= window.end) return Step::more;
            p = fault_;
            return Step::broken;
        }
        recorder.record(cells_, window, window.offset_of(p));
        p = stop;
        return Step::done;
    }

    Recorder recorder;

private:
    static constexpr int phase_key = columns_limit, args_key = columns_limit + 1, closing_brace = columns_limit + 2;

    void add_keys(const ColumnSpec& spec, std::size_t column) {
        Keys& keys = spec.in_args ? args_keys_ : event_keys_;
        for (const std::string& key : spec.keys) {
            if (keys.has(key)) throw std::invalid_argument("a key that is taken: " + key);
            keys.add(key, static_cast<int>(column));
        }
        kinds_[column] = spec.kind;
        is_memory_[column] =
            spec.in_args && (spec.name == "address" || spec.name == "total_allocated" || spec.name == "total_reserved");
    }

    const Byte* fail(const Byte* p) {
        fault_ = p;
        return nullptr;
    }

    // From the byte after the opening brace to the byte after the closing one; null after fail().
    const Byte* read_members(const Byte* p) {
        const Byte* const end = window_->end;
        const Byte* args = nullptr;  // where the args began, while in them
        bool first = true;
        Shapes::Place place = Shapes::root;
        for (;;) {
            int meaning;
            const Shapes::Place expected = shapes_.next(place, p);
            if (expected != Shapes::unknown) [[likely]] {
                place = expected;
                p += shapes_.length(place);
                meaning = shapes_.meaning(place);
                if (meaning != closing_brace && *p <= ' ') p = skip_space(p, end);
            } else {
                const Byte* const before = p;
                bool plain = true;
                p = read_key(p, first, args == nullptr ? event_keys_ : args_keys_, meaning, plain);
                if (p == nullptr) return nullptr;
                place = plain ? shapes_.learn(place, before, static_cast<std::size_t>(p - before), meaning)
                              : Shapes::unknown;
            }
            first = false;
            if (meaning == closing_brace) {
                if (p > end) return fail(end);
                if (args == nullptr) return p;
                cells_.args = {.begin = args, .length = static_cast<std::uint32_t>(p - args), .quoted = false};
                args = nullptr;
                continue;
            }
            if (p >= end) return fail(end);
            if (meaning == args_key && *p == '{') {
                args = p++;
                first = true;
                place = shapes_.inside(place);
                continue;
            }
            p = read_member(p, meaning);
            if (p == nullptr) return nullptr;
            if (p >= end) return fail(end);
        }
    }

    // From where a member ends (or the object begins) to the next value, or after the closing brace.
    PERFKIT_COLD const Byte* read_key(const Byte* p, bool first, const Keys& keys, int& meaning, bool& plain) {
        const Byte* const end = window_->end;
        p = skip_space(p, end);
        if (p >= end) return fail(p);
        if (*p == '}') {
            meaning = closing_brace;
            return p + 1;
        }
        if (!first) {
            if (*p != ',') return fail(p);
            p = skip_space(p + 1, end);
        }
        if (p >= end || *p != '"') return fail(p);
        const Byte* const key = p + 1;
        p = find_closing_quote(key, *window_, cells_.notes, plain);
        if (!closes_string(p, *window_)) return fail(end);
        meaning = find_key(keys, key, static_cast<std::size_t>(p - key), plain);
        p = skip_space(p + 1, end);
        if (p >= end || *p != ':') return fail(p);
        p = skip_space(p + 1, end);
        return p < end ? p : fail(p);
    }

    int find_key(const Keys& keys, const Byte* p, std::size_t length, bool plain) {
        if (plain) return keys.find(p, length);
        scratch_.resize(length + padding);
        const Byte* const stop = unescape(p, p + length, scratch_.data());
        return keys.find(scratch_.data(), static_cast<std::size_t>(stop - scratch_.data()));
    }

    PERFKIT_HOT const Byte* read_member(const Byte* p, int meaning) {
        if (meaning == Keys::unknown || meaning == args_key) return skip_value(p);
        if (meaning == phase_key) return *p == '"' ? read_string(p, cells_.phase) : skip_value(p);
        const auto column = static_cast<std::size_t>(meaning);
        cells_.memory_key_seen |= is_memory_[column];
        switch (kinds_[column]) {
            case Kind::time: return read_number<3>(p, column);
            case Kind::integer:
            case Kind::small: return read_number<0>(p, column);
            case Kind::text: return *p == '"' ? read_text(p, column) : skip_value(p);
            case Kind::json: return read_json(p, column);
            case Kind::key: return *p == '"' ? read_text(p, column) : read_scalar(p, column);
        }
        return fail(p);
    }

    PERFKIT_HOT const Byte* skip_value(const Byte* p) {
        bool usable;
        return skip_value(p, usable);
    }

    // `usable`: neither null nor no JSON.
    PERFKIT_HOT const Byte* skip_value(const Byte* p, bool& usable) {
        usable = true;
        if (*p == '"') {
            Text text;
            return read_string(p, text);
        }
        if (*p == '[' || *p == '{') return skip_nested(p);
        return skip_token(p, usable);
    }

    PERFKIT_COLD const Byte* skip_nested(const Byte* p) {
        if (p[1] == p[0] + 2) return p + 2;  // `[]` and `{}`
        Nesting nesting;
        Step step;
        p = nesting.walk(p, *window_, cells_.notes, step);
        return step == Step::done ? p : fail(step == Step::broken ? p : window_->end);
    }

    PERFKIT_HOT const Byte* skip_token(const Byte* p, bool& usable) {
        const unsigned digits = leading_digits(load_word(p));
        if (digits != 0 && digits != 8 && ends_token(p[digits])) return p + digits;
        const Byte* const stop = perfkit::skip_token(p, window_->end);
        const auto length = static_cast<std::size_t>(stop - p);
        if (length == 0) return fail(p);
        if (const void* const zero = std::memchr(p, 0, length)) return fail(static_cast<const Byte*>(zero));
        if (stop >= window_->end) return fail(stop);
        const bool literal = is_literal(p, stop);
        if (!literal) cells_.notes.note(Defect::bare_value, window_->offset_of(p));
        usable = literal && *p != 'n';
        return stop;
    }

    PERFKIT_HOT const Byte* read_string(const Byte* p, Text& text) {
        bool plain = true;
        const Byte* const stop = find_closing_quote(p + 1, *window_, cells_.notes, plain);
        if (!closes_string(stop, *window_)) return fail(window_->end);
        text = {.begin = p + 1, .length = static_cast<std::uint32_t>(stop - p - 1), .plain = plain};
        return stop + 1;
    }

    PERFKIT_HOT const Byte* read_text(const Byte* p, std::size_t column) {
        cells_.fill(column);
        const Recorder::Last& last = recorder.last(column);
        if (last.number != Text::unknown && static_cast<std::size_t>(window_->end - p) > last.length + 1 &&
            p[last.length + 1] == '"' && Strings::same_bytes(last.bytes, p + 1, last.length)) {
            cells_.texts[column] = {
                .begin = p + 1, .length = static_cast<std::uint32_t>(last.length), .number = last.number};
            return p + last.length + 2;
        }
        return read_string(p, cells_.texts[column]);
    }

    // The raw text of a value, unless it is too long: then it is as if absent.
    PERFKIT_HOT const Byte* read_json(const Byte* p, std::size_t column) {
        bool usable;
        const Byte* const stop = skip_value(p, usable);
        if (stop == nullptr) return nullptr;
        const auto length = static_cast<std::size_t>(stop - p);
        if (length > text_limit) {
            cells_.row_notes.note(Defect::oversized_value, window_->offset_of(p));
        } else if (usable) {
            cells_.fill(column);
            cells_.texts[column] = {.begin = p, .length = static_cast<std::uint32_t>(length), .quoted = false};
        }
        return stop;
    }

    PERFKIT_HOT const Byte* read_scalar(const Byte* p, std::size_t column) {
        return *p == '[' || *p == '{' ? skip_nested(p) : read_json(p, column);
    }

    template <unsigned decimals>
    PERFKIT_HOT const Byte* read_number(const Byte* p, std::size_t column) {
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
        if (decimal.reading == Reading::out_of_range) note_out_of_range(p);
        return stop;
    }

    // Into a column of 32 bits an unsigned number goes as the signed one of the same bits: exporters write -1 as
    // 4294967295.
    PERFKIT_HOT void put_number(const Byte* p, std::size_t column, std::int64_t value) {
        static constexpr std::int64_t small_limit = 0x7fffffff, unsigned_limit = 0xffffffff;
        if (kinds_[column] == Kind::small && (value > small_limit || value < -small_limit)) {
            if (value < 0 || value > unsigned_limit) return note_out_of_range(p);
            value -= unsigned_limit + 1;
            if (value < -small_limit) return;
        }
        cells_.fill(column);
        cells_.numbers[column] = value;
    }

    PERFKIT_COLD void note_out_of_range(const Byte* p) {
        cells_.row_notes.note(Defect::number_out_of_range, window_->offset_of(p));
    }

    Keys event_keys_, args_keys_;
    std::array<Kind, columns_limit> kinds_{};
    std::array<bool, columns_limit> is_memory_{};
    Shapes shapes_;

    // The event that is being read.
    const Window* window_ = nullptr;
    const Byte* fault_ = nullptr;
    Cells cells_;
    std::vector<Byte> scratch_;
};

}  // namespace perfkit
