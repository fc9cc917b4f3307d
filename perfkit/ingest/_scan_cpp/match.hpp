// How to tell, after a fault, where it is safe to go on.
#pragma once

#include "text.hpp"

namespace perfkit {

enum class Match { yes, no, unknown };  // unknown: the bytes end too early

// White space, then `wanted`. Moves `p` to `wanted`, if it is there.
inline Match match_next(const Byte*& p, const Byte* end, char wanted) {
    p = std::min(skip_space(p, end), end);
    if (p == end) return Match::unknown;
    return *p == static_cast<Byte>(wanted) ? Match::yes : Match::no;
}

// `text`. Moves `p` after it, if it is there.
inline Match match_text(const Byte*& p, const Byte* end, std::string_view text) {
    const auto size = std::min(text.size(), static_cast<std::size_t>(end - p));
    if (std::memcmp(p, text.data(), size) != 0) return Match::no;
    p += size;
    return size == text.size() ? Match::yes : Match::unknown;
}

// The key of the events, and the beginning of an array.
inline Match match_events(const Byte* p, const Byte* end) {
    Match match = match_text(p, end, "\"traceEvents\"");
    if (match == Match::yes) match = match_next(p, end, ':');
    if (match == Match::yes) match = match_next(++p, end, '[');
    return match;
}

// An object whose first key is one that events have.
inline Match match_event(const Byte* p, const Byte* end) {
    static constexpr std::string_view keys[] = {
        "\"ph\"",  "\"cat\"",  "\"name\"", "\"pid\"", "\"tid\"", "\"ts\"",
        "\"dur\"", "\"args\"", "\"id\"",   "\"s\"",   "\"bp\"",
    };
    Match match = match_next(++p, end, '"');
    if (match != Match::yes) return match;
    match = Match::no;
    for (const std::string_view key : keys) {
        const Byte* after = p;
        match = match_text(after, end, key);
        if (match == Match::yes) match = match_next(after, end, ':');
        if (match != Match::no) break;
    }
    return match;
}

}  // namespace perfkit
