// What usually comes next. Profilers write their events in a few shapes: after a given key nearly always the same bytes
// lead to the next value (`, "name": `). A shape remembers those bytes and what the key means, so that one comparison
// does for white space, quotes, lookup and colon. It only ever saves work: equal bytes mean equal things.
#pragma once

#include <algorithm>
#include <vector>

#include "lanes.hpp"

namespace perfkit {

class Shapes {
public:
    using Place = std::uint16_t;

    static constexpr Place unknown = 0;  // a place where nothing is known
    static constexpr Place root = 1;     // after the opening brace of an event

    Shapes() { forget(); }

    // The place after the bytes at `p`, or `unknown`. May read 64 bytes.
    PERFKIT_HOT Place next(Place from, const Byte* p) const {
        for (const Place place : nodes_[from].next) {
            if (place == unknown) break;
            if (matches(nodes_[place], p)) return place;
        }
        return unknown;
    }

    std::size_t length(Place place) const { return nodes_[place].length; }
    int meaning(Place place) const { return nodes_[place].meaning; }

    // The place after the opening brace of the value that is at `place`.
    PERFKIT_HOT Place inside(Place place) {
        if (place == unknown) return unknown;
        if (nodes_[place].inside == unknown) {
            const Place added = add();
            if (added == unknown) return unknown;
            nodes_[place].inside = added;
        }
        return nodes_[place].inside;
    }

    // Remembers that these bytes come after `from`; the place after them.
    PERFKIT_COLD Place learn(Place from, const Byte* p, std::size_t length, int meaning) {
        if (from == unknown || length == 0 || length > longest) return unknown;
        const Place place = add();
        if (place == unknown) return unknown;
        Node& node = nodes_[place];
        std::memcpy(node.bytes, p, length);
        node.length = static_cast<std::uint8_t>(length);
        node.meaning = static_cast<std::int16_t>(meaning);
        Node& before = nodes_[from];
        Place* slot = std::find(before.next, before.next + choices, unknown);
        if (slot == before.next + choices) slot = before.next + place % choices;
        *slot = place;
        return place;
    }

private:
    static constexpr std::size_t longest = 48, choices = 4, most = 4096;

    struct Node {
        Byte bytes[longest];
        std::uint8_t length;
        std::int16_t meaning;
        Place inside;
        Place next[choices];
    };

    PERFKIT_HOT static bool matches(const Node& node, const Byte* p) {
        const std::size_t length = node.length;
        if (length < 8) return ((load_word(node.bytes) ^ load_word(p)) << (64 - 8 * length)) == 0;
        if (load_word(node.bytes + length - 8) != load_word(p + length - 8)) return false;
        for (std::size_t i = 0; i + 8 < length; i += 8) {
            if (load_word(node.bytes + i) != load_word(p + i)) return false;
        }
        return true;
    }

    // Where all of them are taken, everything is forgotten: a file without shapes must not keep out the next that has
    // some.
    PERFKIT_COLD Place add() {
        if (nodes_.size() == most) {
            forget();
            return unknown;
        }
        nodes_.push_back({});
        return static_cast<Place>(nodes_.size() - 1);
    }

    void forget() { nodes_.assign(2, {}); }

    std::vector<Node> nodes_;
};

}  // namespace perfkit
