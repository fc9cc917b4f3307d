// What was read of one event, before it is known whether it becomes a row.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "text.hpp"

namespace perfkit {

enum class Kind { time, integer, small, text, json, key };

struct ColumnSpec {
    std::string name;
    Kind kind;
    std::vector<std::string> keys;
    bool in_args;
};

inline constexpr std::size_t columns_limit = 64;
inline constexpr std::size_t text_limit = std::size_t{1} << 20;

// A piece of the window that is to become a string.
struct Text {
    static constexpr std::int32_t unknown = -1;

    const Byte* begin = nullptr;
    std::uint32_t length = 0;
    bool plain = true;              // neither escapes nor control characters
    bool quoted = true;             // `begin` comes after a quote
    std::int32_t number = unknown;  // in the string table

    const Byte* origin() const { return begin - quoted; }
};

struct Cells {
    std::uint64_t filled = 0;  // a bit for each column that has a value
    std::array<std::int64_t, columns_limit> numbers;
    std::array<Text, columns_limit> texts;
    Text phase, args;
    bool memory_key_seen = false;
    Defects notes;      // hold for the event, whatever it is
    Defects row_notes;  // hold if it becomes a row

    void clear() {
        filled = 0;
        phase = args = Text{};
        memory_key_seen = false;
        notes.clear();
        row_notes.clear();
    }

    void fill(std::size_t column) { filled |= std::uint64_t{1} << column; }
    bool has(int column) const { return column >= 0 && (filled >> column & 1) != 0; }
};

}  // namespace perfkit
