// Decimal text to integers, exactly: no floating point anywhere.
#pragma once

#include <limits>

#include "text.hpp"

namespace perfkit {

inline constexpr std::uint64_t powers_of_ten[] = {
    1u, 10u, 100u, 1'000u, 10'000u, 100'000u, 1'000'000u, 10'000'000u, 100'000'000u,
};
inline constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

// How many of the eight bytes are digits before the first that is not one.
PERFKIT_HOT unsigned leading_digits(std::uint64_t word) {
    const std::uint64_t value = word ^ 0x3030303030303030;
    const std::uint64_t other = ((value + 0x7676767676767676) | value) & 0x8080808080808080;
    return other == 0 ? 8 : static_cast<unsigned>(std::countr_zero(other)) >> 3;
}

// The value of the first `count` (1 to 8) digits of the word.
PERFKIT_HOT std::uint64_t digits_value(std::uint64_t word, unsigned count) {
    std::uint64_t value = (word - 0x3030303030303030) << (64 - 8 * count);  // in front of them zeros, not characters
    value = value * 10 + (value >> 8);
    return ((value & 0x000000ff000000ff) * 0x000f424000000064 +
            (value >> 16 & 0x000000ff000000ff) * 0x0000271000000001) >>
           32;
}

// A value read from text: how it went, and the value.
enum class Reading { number, out_of_range, not_a_number };

struct Decimal {
    Reading reading;
    std::int64_t value = 0;
};

// The usual number: up to 16 digits before the point, no exponent. Returns the byte after it, or null if `p` holds
// anything else (read_decimal then tells). `decimals` is how many digits after the point count (3: microseconds to
// nanoseconds; 0).
template <unsigned decimals>
PERFKIT_HOT const Byte* read_plain_decimal(const Byte* p, std::int64_t& result) {
    const bool negative = *p == '-';
    p += negative;
    std::uint64_t word = load_word(p);
    unsigned count = leading_digits(word);
    if (count == 0) return nullptr;
    std::uint64_t value = digits_value(word, count);
    p += count;
    if (count == 8) {
        word = load_word(p);
        count = leading_digits(word);
        if (count != 0) value = value * powers_of_ten[count] + digits_value(word, count);
        p += count;
    }
    if (value > static_cast<std::uint64_t>(largest) / powers_of_ten[decimals] - 1) return nullptr;
    value *= powers_of_ten[decimals];
    if (*p == '.') {
        word = load_word(++p);
        count = leading_digits(word);
        if (count == 0 || count == 8) return nullptr;
        p += count;
        if constexpr (decimals != 0) {
            const unsigned used = count < decimals ? count : decimals;
            value += digits_value(word, used) * powers_of_ten[decimals - used];
        }
    }
    if (!ends_token(*p)) return nullptr;
    result = negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value);
    return p;
}

// The parts of `-?digits(.digits)?([eE][+-]?digits)?`.
struct DecimalText {
    bool negative = false;
    const Byte* whole = nullptr;
    const Byte* whole_end = nullptr;
    const Byte* fraction = nullptr;
    const Byte* fraction_end = nullptr;
    std::int64_t exponent = 0;  // saturates
};

inline const Byte* skip_digits(const Byte* p, const Byte* end) {
    while (p < end && *p >= '0' && *p <= '9') ++p;
    return p;
}

// Whether [p, end) is exactly one number.
PERFKIT_COLD inline bool split_decimal(const Byte* p, const Byte* end, DecimalText& text) {
    text.negative = p < end && *p == '-';
    p += text.negative;
    text.whole = p;
    text.whole_end = text.fraction = text.fraction_end = p = skip_digits(p, end);
    if (p == text.whole) return false;
    if (p < end && *p == '.') {
        text.fraction = ++p;
        text.fraction_end = p = skip_digits(p, end);
        if (p == text.fraction) return false;
    }
    if (p < end && (*p | 0x20) == 'e') {
        ++p;
        const bool down = p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+')) ++p;
        const Byte* const digits = p;
        p = skip_digits(p, end);
        if (p == digits) return false;
        for (const Byte* digit = digits; digit < p; ++digit)
            text.exponent = std::min<std::int64_t>(text.exponent * 10 + (*digit - '0'), 1000);
        if (down) text.exponent = -text.exponent;
    }
    return p == end;
}

inline bool is_number(const Byte* p, const Byte* end) {
    DecimalText text;
    return split_decimal(p, end, text);
}

// Any number, of any length, truncated toward zero after `decimals` decimals; beyond +-`limit` it is out of range.
PERFKIT_COLD inline Decimal read_decimal(const Byte* p, const Byte* end, unsigned decimals, std::int64_t limit) {
    static constexpr std::int64_t exponent_limit = 40, digits_limit = 19;
    DecimalText text;
    if (!split_decimal(p, end, text)) return {Reading::not_a_number};
    if (text.exponent > exponent_limit || text.exponent < -exponent_limit) return {Reading::out_of_range};
    // The wanted digits are the first `wanted` ones of whole and fraction joined, with zeros after them where they run
    // out.
    const std::int64_t whole = text.whole_end - text.whole, fraction = text.fraction_end - text.fraction;
    const std::int64_t wanted = whole + text.exponent + decimals;
    std::uint64_t value = 0;
    std::int64_t significant = 0;
    for (std::int64_t i = 0; i < wanted; ++i) {
        if (i >= whole + fraction && value == 0) break;
        const Byte digit = i < whole              ? text.whole[i]
                           : i < whole + fraction ? text.fraction[i - whole]
                                                  : static_cast<Byte>('0');
        significant += value != 0 || digit != '0';
        if (significant > digits_limit) return {Reading::out_of_range};  // before 20 digits wrap round, maybe to 0
        value = value * 10 + (digit - '0');
    }
    if (value > static_cast<std::uint64_t>(limit)) return {Reading::out_of_range};
    return {Reading::number, text.negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value)};
}

}  // namespace perfkit
