// The lexical layer: white space, strings, escapes, UTF-8, bare tokens.
// Every function may read up to `padding` bytes at and after `end`, never more, and what it returns is to be compared
// with `end`.
#pragma once

#include <string_view>

#include "defects.hpp"
#include "lanes.hpp"

namespace perfkit {

inline constexpr std::size_t padding = 64;

// The bytes at hand: a piece of the stream, and where in the stream it lies.
struct Window {
    const Byte* begin = nullptr;
    const Byte* end = nullptr;  // `padding` more bytes after it may be read
    std::uint64_t offset = 0;   // of `begin`

    std::uint64_t offset_of(const Byte* p) const { return offset + static_cast<std::uint64_t>(p - begin); }
};

PERFKIT_HOT bool is_space(Byte c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

PERFKIT_COLD inline const Byte* skip_long_space(const Byte* p, const Byte* end) {
    while (p < end) {
        const Lane lane = Lane::load(p);
        const Lane::Hits other = (lane.is(' ') | lane.is('\n')).misses();
        if (other == 0) {
            p += Lane::width;
            continue;
        }
        p += Lane::index(other);
        if (*p != '\t' && *p != '\r') break;
        ++p;
    }
    return p;
}

// The first byte from `p` on that is not white space; may be `end` or after it.
PERFKIT_HOT const Byte* skip_space(const Byte* p, const Byte* end) {
    if (*p > ' ') return p;
    if (*p == ' ' && p[1] > ' ') return p + 1;
    return skip_long_space(p, end);
}

inline int hex_digit(Byte c) {
    if (c >= '0' && c <= '9') return c - '0';
    const Byte letter = c | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

// The byte after the escape that starts at `p` (a backslash before `end`); null if the window ends too early to tell.
PERFKIT_COLD inline const Byte* skip_escape(const Byte* p, const Window& window, Defects& notes) {
    const Byte* const next = p + 1;
    if (next >= window.end) return nullptr;
    switch (*next) {
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't': return next + 1;
        case 'u': {
            const Byte* digit = next + 1;
            while (digit < next + 5 && digit < window.end && hex_digit(*digit) >= 0) ++digit;
            if (digit == next + 5) return digit;
            if (digit >= window.end) return nullptr;
            break;
        }
        default:
            if (*next < 0x20) notes.note(Defect::control_character, window.offset_of(next));
    }
    notes.note(Defect::bad_escape, window.offset_of(p));
    return next + 1;
}

PERFKIT_COLD inline const Byte* find_far_quote(const Byte* p, const Window& window, Defects& notes, bool& plain) {
    while (p < window.end) {
        const Lane lane = Lane::load(p);
        const Lane::Hits hits = (lane.is('"') | lane.is('\\') | lane.at_most(0x1f)).hits();
        if (hits == 0) {
            p += Lane::width;
            continue;
        }
        p += Lane::index(hits);
        if (p >= window.end) break;
        if (*p == '"') return p;
        plain = false;
        if (*p == '\\') {
            const Byte* const next = skip_escape(p, window, notes);
            if (next == nullptr) return p;
            p = next;
        } else {
            notes.note(Defect::control_character, window.offset_of(p));
            ++p;
        }
    }
    return window.end;
}

// The closing quote of the string whose first byte is at `p`; or, if it is not in the window, the first byte that was
// not used: the end, or a backslash whose escape is cut off. `plain` is cleared by an escape or a control character,
// never set.
PERFKIT_HOT const Byte* find_closing_quote(const Byte* p, const Window& window, Defects& notes, bool& plain) {
    const Lane lane = Lane::load(p);
    const Lane::Hits hits = (lane.is('"') | lane.is('\\') | lane.at_most(0x1f)).hits();
    if (hits != 0) [[likely]] {
        const Byte* const found = p + Lane::index(hits);
        if (*found == '"' && found < window.end) [[likely]]
            return found;
    }
    return find_far_quote(p, window, notes, plain);
}

PERFKIT_HOT bool closes_string(const Byte* p, const Window& window) { return p < window.end && *p == '"'; }

PERFKIT_HOT bool ends_token(Byte c) { return c == ',' || c == '}' || c == ']' || is_space(c); }

inline const Byte* skip_token(const Byte* p, const Byte* end) {
    while (p < end && !ends_token(*p)) ++p;
    return p;
}

inline bool equals(const Byte* p, std::size_t length, std::string_view text) {
    return length == text.size() && std::memcmp(p, text.data(), length) == 0;
}

// Appends a code point as UTF-8; surrogates must have been dealt with.
inline Byte* put_utf8(Byte* out, std::uint32_t code) {
    if (code < 0x80) {
        *out++ = static_cast<Byte>(code);
    } else if (code < 0x800) {
        *out++ = static_cast<Byte>(0xc0 | code >> 6);
        *out++ = static_cast<Byte>(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = static_cast<Byte>(0xe0 | code >> 12);
        *out++ = static_cast<Byte>(0x80 | (code >> 6 & 0x3f));
        *out++ = static_cast<Byte>(0x80 | (code & 0x3f));
    } else {
        *out++ = static_cast<Byte>(0xf0 | code >> 18);
        *out++ = static_cast<Byte>(0x80 | (code >> 12 & 0x3f));
        *out++ = static_cast<Byte>(0x80 | (code >> 6 & 0x3f));
        *out++ = static_cast<Byte>(0x80 | (code & 0x3f));
    }
    return out;
}

// The code unit of the `\uXXXX` at `p`, or -1 if there is none.
inline std::int32_t code_unit(const Byte* p, const Byte* end) {
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    std::int32_t unit = 0;
    for (int i = 2; i < 6; ++i) {
        const int digit = hex_digit(p[i]);
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

// Appends what the escape at `p` stands for, and moves `p` after it. An unknown escape stands for itself.
inline Byte* unescape_one(const Byte*& p, const Byte* end, Byte* out) {
    static constexpr std::string_view letters = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    const std::int32_t unit = code_unit(p, end);
    if (unit >= 0) {
        p += 6;
        const std::int32_t low = (unit & 0xfc00) == 0xd800 ? code_unit(p, end) : -1;
        if ((low & ~0x3ff) == 0xdc00) {
            p += 6;
            return put_utf8(out, 0x10000u + static_cast<std::uint32_t>((unit & 0x3ff) << 10 | (low & 0x3ff)));
        }
        return put_utf8(out, (unit & 0xf800) == 0xd800 ? 0xfffd : static_cast<std::uint32_t>(unit));
    }
    const std::size_t at = end - p < 2 ? letters.npos : letters.find(static_cast<char>(p[1]));
    if (at == letters.npos) {
        *out++ = *p++;
        if (p < end) *out++ = *p++;
        return out;
    }
    *out++ = static_cast<Byte>(values[at]);
    p += 2;
    return out;
}

// Unescapes [p, end) into `out`, which needs room for as many bytes; returns the end of what was written.
inline Byte* unescape(const Byte* p, const Byte* end, Byte* out) {
    while (p < end) {
        if (*p == '\\') {
            out = unescape_one(p, end, out);
        } else {
            *out++ = *p++;
        }
    }
    return out;
}

// How many bytes the well-formed UTF-8 sequence at `p` has (Unicode, table 3-7), or 0.
inline int utf8_length(const Byte* p, const Byte* end) {
    const Byte lead = *p;
    if (lead < 0x80) return 1;
    const int length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || end - p < length) return 0;
    const Byte lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const Byte highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < lowest || p[1] > highest) return 0;
    for (int i = 2; i < length; ++i) {
        if ((p[i] & 0xc0) != 0x80) return 0;
    }
    return length;
}

inline bool is_utf8(const Byte* p, const Byte* end) {
    while (p < end) {
        if (end - p >= 8 && (load_word(p) & 0x8080808080808080) == 0) {
            p += 8;
            continue;
        }
        const int length = utf8_length(p, end);
        if (length == 0) return false;
        p += length;
    }
    return true;
}

}  // namespace perfkit
