// A value of any size that can come in pieces: a string, something nested, or a token.
#pragma once

#include "nesting.hpp"
#include "number.hpp"

namespace perfkit {

inline bool is_literal(const Byte* p, const Byte* end) {
    const auto length = static_cast<std::size_t>(end - p);
    return equals(p, length, "true") || equals(p, length, "false") || equals(p, length, "null") || is_number(p, end);
}

class ValueWalk {
public:
    ValueWalk() = default;
    explicit ValueWalk(Byte first)
        : shape_(first == '"'                   ? Shape::quote
                 : first == '[' || first == '{' ? Shape::nested
                                                : Shape::token) {}

    bool is_token() const { return shape_ == Shape::token; }

    // Walks on from `p`; returns the byte after the value (done), the first byte not yet used (more) or the offending
    // byte (broken).
    const Byte* go(const Byte* p, const Window& window, Defects& notes, Step& step) {
        step = Step::more;
        switch (shape_) {
            case Shape::nested: return nesting_.walk(p, window, notes, step);
            case Shape::quote:
                if (p == window.end) return p;
                shape_ = Shape::string;
                ++p;
                [[fallthrough]];
            case Shape::string: return go_string(p, window, notes, step);
            case Shape::token: return go_token(p, window, step);
        }
        return p;
    }

private:
    enum class Shape { quote, string, nested, token };  // quote: a string that has not begun yet

    static const Byte* go_string(const Byte* p, const Window& window, Defects& notes, Step& step) {
        bool plain = true;
        p = find_closing_quote(p, window, notes, plain);
        if (!closes_string(p, window)) return p;
        step = Step::done;
        return p + 1;
    }

    const Byte* go_token(const Byte* p, const Window& window, Step& step) {
        const Byte* const stop = skip_token(p, window.end);
        if (stop < window.end) step = stop == p && empty_ ? Step::broken : Step::done;
        empty_ &= stop == p;
        return stop;
    }

    Shape shape_ = Shape::token;
    bool empty_ = true;
    Nesting nesting_;
};

}  // namespace perfkit
