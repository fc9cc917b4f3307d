// Objects and arrays that are skipped or kept as raw text: only their strings and the number of open brackets are
// looked at.
#pragma once

#include "text.hpp"

namespace perfkit {

enum class Step { done, more, broken };

// How far the walk through one object or array has come; it can stop at any byte and go on with the next window.
class Nesting {
public:
    // Walks on from `p`; returns the byte after the value (done), the first byte not yet used (more) or the offending
    // byte (broken).
    const Byte* walk(const Byte* p, const Window& window, Defects& notes, Step& step) {
        step = Step::more;
        while (p < window.end) {
            const Byte* stop = window.end;
            if (static_cast<std::size_t>(window.end - p) >= Block::size) {
                bool clean = true;
                p = walk_block(p, step, clean);
                if (step == Step::done) return p;
                if (clean) continue;
                stop = p + Block::size;
            }
            p = walk_bytes(p, stop, window, notes, step);
            if (p < stop || step == Step::done) break;
        }
        return p;
    }

private:
    // A whole block at once. Anything out of the ordinary leaves everything as it was and says that it is not `clean`.
    PERFKIT_HOT const Byte* walk_block(const Byte* p, Step& step, bool& clean) {
        const Block block(p);
        const std::uint64_t quotes = block.where([](Lane b) { return b.is('"'); });
        std::uint64_t openers = block.where([](Lane b) { return b.with_bits(0x20).is('{'); });
        std::uint64_t closers = block.where([](Lane b) { return b.with_bits(0x20).is('}'); });
        bool in_string = in_string_, after_string = after_string_;
        if (quotes != 0 || in_string || after_string) {
            const std::uint64_t strings = running_parity(quotes) ^ (in_string ? ~std::uint64_t{0} : 0);
            const std::uint64_t backslashes = block.where([](Lane b) { return b.is('\\'); });
            const std::uint64_t controls = block.where([](Lane b) { return b.at_most(0x1f); });
            const std::uint64_t spaces =
                block.where([](Lane b) { return b.is(' ') | b.is('\n') | b.is('\t') | b.is('\r'); });
            const std::uint64_t separators = block.where([](Lane b) { return b.is(',') | b.is(':'); });
            // From each closing quote over the white space after it to the byte that follows: adding carries a bit
            // along a run.
            const std::uint64_t ended = quotes & ~strings;
            const std::uint64_t next = ended << 1 | (after_string ? 1 : 0);
            const std::uint64_t carried = spaces + (next & spaces);
            const std::uint64_t followers = (next | carried) & ~spaces;
            clean = backslashes == 0 && (controls & strings) == 0 && (followers & ~(separators | closers)) == 0;
            if (!clean) return p;
            openers &= ~strings;
            closers &= ~strings;
            in_string = strings >> 63 != 0;
            after_string = ended >> 63 != 0 || carried < spaces;
        }
        for (std::uint64_t rest = openers | closers; rest != 0; rest &= rest - 1) {
            const std::uint64_t lowest = rest & (~rest + 1);
            depth_ += (openers & lowest) != 0 ? 1 : ~std::uint64_t{0};
            if (depth_ == 0) {
                step = Step::done;
                return p + std::countr_zero(rest) + 1;
            }
        }
        in_string_ = in_string;
        after_string_ = after_string;
        return p + Block::size;
    }

    PERFKIT_COLD const Byte* walk_bytes(const Byte* p, const Byte* stop, const Window& window, Defects& notes,
                                        Step& step) {
        while (p < stop) {
            const Byte c = *p;
            if (in_string_) {
                if (c == '\\') {
                    const Byte* const next = skip_escape(p, window, notes);
                    if (next == nullptr) return p;
                    p = next;
                    continue;
                }
                if (c < 0x20) notes.note(Defect::control_character, window.offset_of(p));
                if (c == '"') {
                    in_string_ = false;
                    after_string_ = true;
                }
            } else if (!is_space(c)) {
                const bool closes = c == '}' || c == ']';
                if (after_string_ && !closes && c != ',' && c != ':') {
                    step = Step::broken;
                    return p;
                }
                after_string_ = false;
                if (c == '"') in_string_ = true;
                if (c == '{' || c == '[') ++depth_;
                if (closes && --depth_ == 0) {
                    step = Step::done;
                    return p + 1;
                }
            }
            ++p;
        }
        return p;
    }

    std::uint64_t depth_ = 0;
    bool in_string_ = false;
    bool after_string_ = false;
};

}  // namespace perfkit
