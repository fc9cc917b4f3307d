// What is wrong with a trace, by kind: how often, and where first.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace perfkit {

enum class Defect : unsigned {
    bad_escape,
    bare_value,
    broken_event,
    broken_header,
    control_character,
    event_not_object,
    event_without_time,
    extra_comma,
    invalid_utf8,
    missing_comma,
    number_out_of_range,
    oversized_event,
    oversized_metadata,
    oversized_value,
    trailing_data,
    truncated,
    truncated_event,
};

inline constexpr std::array defect_names{
    "bad_escape",          "bare_value",         "broken_event",       "broken_header",   "control_character",
    "event_not_object",    "event_without_time", "extra_comma",        "invalid_utf8",    "missing_comma",
    "number_out_of_range", "oversized_event",    "oversized_metadata", "oversized_value", "trailing_data",
    "truncated",           "truncated_event",
};

class Defects {
public:
    struct Entry {
        std::uint64_t count = 0;
        std::uint64_t first = 0;
    };

    void note(Defect kind, std::uint64_t offset, std::uint64_t count = 1) {
        Entry& entry = entries_[static_cast<std::size_t>(kind)];
        entry.first = entry.count == 0 ? offset : std::min(entry.first, offset);
        entry.count += count;
        any_ = true;
    }

    void add(const Defects& other) {
        if (!other.any_) return;
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            const Entry& entry = other.entries_[i];
            if (entry.count != 0) note(static_cast<Defect>(i), entry.first, entry.count);
        }
    }

    void clear() {
        if (any_) *this = Defects{};
    }

    const std::array<Entry, defect_names.size()>& entries() const { return entries_; }

private:
    std::array<Entry, defect_names.size()> entries_{};
    bool any_ = false;
};

}  // namespace perfkit
