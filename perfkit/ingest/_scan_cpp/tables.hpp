// What a scan collects: the columns, and the table of distinct strings. And what it looks keys up in.
#pragma once

#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

#include "text.hpp"

namespace perfkit {

// One column under construction, as one block of memory that grows where it lies (realloc moves pages, not bytes, where
// the system can): what is handed over in the end was never there twice. A column without a value takes no memory.
class Column {
public:
    struct Free {
        void operator()(void* p) const { std::free(p); }
    };
    template <class Integer>
    using Values = std::unique_ptr<Integer[], Free>;

    explicit Column(bool wide) : wide_(wide) {}

    bool wide() const { return wide_; }

    // Rows come in ascending order; those left out are missing. The value is of the column's own width.
    template <class Integer>
    void put(std::size_t row, Integer value) {
        if (row >= capacity_) [[unlikely]]
            resize<Integer>(std::max(2 * row, first_capacity));
        Integer* const values = static_cast<Integer*>(values_.get());
        while (size_ < row) values[size_++] = std::numeric_limits<Integer>::min();
        values[size_++] = value;
    }

    // Hands over the values of `rows` rows.
    template <class Integer>
    Values<Integer> take(std::size_t rows) {
        resize<Integer>(rows);
        Integer* const values = static_cast<Integer*>(values_.get());
        std::fill(values + size_, values + rows, std::numeric_limits<Integer>::min());
        capacity_ = size_ = 0;
        return Values<Integer>(static_cast<Integer*>(values_.release()));
    }

private:
    static constexpr std::size_t first_capacity = 4096;

    template <class Integer>
    PERFKIT_COLD void resize(std::size_t capacity) {
        void* const values = std::realloc(values_.get(), std::max<std::size_t>(capacity, 1) * sizeof(Integer));
        if (values == nullptr) throw std::bad_alloc();
        static_cast<void>(values_.release());
        values_.reset(values);
        capacity_ = capacity;
    }

    bool wide_;
    std::unique_ptr<void, Free> values_;
    std::size_t size_ = 0, capacity_ = 0;
};

// The high and low halves of the product, folded: every bit of both factors reaches every bit of the result.
inline std::uint64_t fold_product(std::uint64_t a, std::uint64_t b) {
#if defined(__SIZEOF_INT128__)
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
#elif defined(_MSC_VER) && defined(_M_X64)
    std::uint64_t high;
    const std::uint64_t low = _umul128(a, b, &high);
    return low ^ high;
#elif defined(_MSC_VER) && defined(_M_ARM64)
    return (a * b) ^ __umulh(a, b);
#else
    const std::uint64_t a_low = a & 0xffffffff, a_high = a >> 32, b_low = b & 0xffffffff, b_high = b >> 32;
    const std::uint64_t cross = a_high * b_low + (a_low * b_low >> 32);
    const std::uint64_t high = a_high * b_high + (cross >> 32) + ((a_low * b_high + (cross & 0xffffffff)) >> 32);
    return (a * b) ^ high;
#endif
}

// The first `count` (at most 8) bytes of the word, zeros after them.
PERFKIT_HOT std::uint64_t first_bytes(std::uint64_t word, std::size_t count) {
    return count >= 8 ? word : word & ((std::uint64_t{1} << (8 * count)) - 1);
}

// Distinct byte strings, numbered in the order they come. Bytes live in an arena that never moves.
class Strings {
public:
    struct Entry {
        const Byte* bytes;
        std::uint32_t length;
        bool is_utf8;
    };

    Strings() : slots_(1 << 12), seed_(random_seed()) {}

    std::size_t size() const { return entries_.size(); }
    const Entry& operator[](std::size_t number) const { return entries_[number]; }

    // The number of the string; `padding` bytes after it may be read.
    std::int32_t intern(const Byte* p, std::uint32_t length) {
        const std::uint64_t hash = hash_of(p, length);
        const std::size_t mask = slots_.size() - 1;
        const auto tag = static_cast<std::uint32_t>(hash >> 32);
        std::size_t at = hash & mask;
        for (; slots_[at].number != none; at = (at + 1) & mask) {
            if (slots_[at].tag != tag) continue;
            const Entry& entry = entries_[slots_[at].number];
            if (entry.length == length && same_bytes(entry.bytes, p, length))
                return static_cast<std::int32_t>(slots_[at].number);
        }
        return add(p, length, hash, at);
    }

    PERFKIT_HOT static bool same_bytes(const Byte* a, const Byte* b, std::size_t length) {
        for (; length > 16; a += 8, b += 8, length -= 8) {
            if (load_word(a) != load_word(b)) return false;
        }
        if (length > 8) {
            if (load_word(a) != load_word(b)) return false;
            a += 8, b += 8, length -= 8;
        }
        return length == 0 || first_bytes(load_word(a) ^ load_word(b), length) == 0;
    }

private:
    static constexpr std::uint32_t none = 0xffffffff;
    static constexpr std::size_t arena_block = std::size_t{1} << 20;
    static constexpr std::size_t slack = 8;  // same_bytes reads whole words

    struct Slot {
        std::uint32_t tag = 0;
        std::uint32_t number = none;
    };

    // Unpredictable, so that no file can be made whose strings all fall into the same slot.
    static std::uint64_t random_seed() {
        std::random_device source;
        return (std::uint64_t{source()} << 32 | source()) | 1;
    }

    std::uint64_t hash_of(const Byte* p, std::size_t length) const {
        static constexpr std::uint64_t odd = 0x9e3779b97f4a7c15, other = 0xd1b54a32d192ed03;
        std::uint64_t first = seed_ ^ (length * odd), second = seed_;
        for (; length > 16; p += 16, length -= 16) {
            const std::uint64_t mixed = fold_product(load_word(p) ^ first, load_word(p + 8) ^ odd);
            first = second;
            second = mixed;
        }
        const std::uint64_t low = first_bytes(load_word(p), length);
        const std::uint64_t high = length > 8 ? first_bytes(load_word(p + 8), length - 8) : 0;
        return fold_product(fold_product(low ^ first, high ^ odd) ^ second, other);
    }

    PERFKIT_COLD std::int32_t add(const Byte* p, std::uint32_t length, std::uint64_t hash, std::size_t at) {
        if (entries_.size() == static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
            throw std::bad_alloc();
        const auto number = static_cast<std::uint32_t>(entries_.size());
        entries_.push_back({keep(p, length), length, is_utf8(p, p + length)});
        slots_[at] = {static_cast<std::uint32_t>(hash >> 32), number};
        if (entries_.size() * 2 > slots_.size()) grow();
        return static_cast<std::int32_t>(number);
    }

    const Byte* keep(const Byte* p, std::size_t length) {
        if (room_ < length + slack) {
            room_ = std::max(arena_block, length + slack);
            arena_.push_back(std::make_unique_for_overwrite<Byte[]>(room_));
            free_ = arena_.back().get();
        }
        Byte* const kept = free_;
        if (length != 0) std::memcpy(kept, p, length);
        std::memset(kept + length, 0, slack);
        free_ += length + slack;
        room_ -= length + slack;
        return kept;
    }

    void grow() {
        std::vector<Slot> slots(slots_.size() * 2);
        const std::size_t mask = slots.size() - 1;
        for (std::size_t number = 0; number < entries_.size(); ++number) {
            const std::uint64_t hash = hash_of(entries_[number].bytes, entries_[number].length);
            std::size_t at = hash & mask;
            while (slots[at].number != none) at = (at + 1) & mask;
            slots[at] = {static_cast<std::uint32_t>(hash >> 32), static_cast<std::uint32_t>(number)};
        }
        slots_ = std::move(slots);
    }

    std::vector<Slot> slots_;
    std::vector<Entry> entries_;
    std::vector<std::unique_ptr<Byte[]>> arena_;
    Byte* free_ = nullptr;
    std::size_t room_ = 0;
    std::uint64_t seed_;
};

// The wanted keys of one place, by length and bytes.
class Keys {
public:
    static constexpr int unknown = -1;

    void add(std::string_view text, int meaning) { keys_.push_back({std::string(text), meaning}); }

    bool has(std::string_view text) const {
        return std::any_of(keys_.begin(), keys_.end(), [&](const Key& key) { return key.text == text; });
    }

    // To be called once, after the last `add`: looks for a multiplier that gives every key a slot of its own.
    void settle() {
        for (Key& key : keys_) key.text.append(padding, '\0');
        std::uint64_t multiplier = 0x9e3779b97f4a7c15;
        std::size_t fewest = keys_.size() + 1;
        for (int attempt = 0; attempt < 1000 && fewest != 0;
             ++attempt, multiplier = multiplier * 0xd1b54a32d192ed03 + 2) {
            std::array<bool, slots> taken{};
            std::size_t collisions = 0;
            for (const Key& key : keys_) {
                bool& slot = taken[slot_of(bytes_of(key), length_of(key), multiplier)];
                collisions += slot;
                slot = true;
            }
            if (collisions < fewest) {
                fewest = collisions;
                multiplier_ = multiplier;
            }
        }
        first_.fill(unknown);
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            int& slot = first_[slot_of(bytes_of(keys_[i]), length_of(keys_[i]), multiplier_)];
            keys_[i].next = slot;
            slot = static_cast<int>(i);
        }
    }

    // What the key means, or `unknown`. One byte before it and `padding` bytes after it may be read.
    int find(const Byte* p, std::size_t length) const {
        for (int i = first_[slot_of(p, length, multiplier_)]; i != unknown;
             i = keys_[static_cast<std::size_t>(i)].next) {
            const Key& key = keys_[static_cast<std::size_t>(i)];
            if (length_of(key) == length && Strings::same_bytes(bytes_of(key), p, length)) return key.meaning;
        }
        return unknown;
    }

private:
    static constexpr std::size_t slots = 256;

    struct Key {
        std::string text;
        int meaning;
        int next = unknown;
    };

    static const Byte* bytes_of(const Key& key) { return reinterpret_cast<const Byte*>(key.text.data()); }
    static std::size_t length_of(const Key& key) { return key.text.size() - padding; }

    static std::size_t slot_of(const Byte* p, std::size_t length, std::uint64_t multiplier) {
        const std::uint64_t last = length == 0 ? 0 : p[length - 1];
        return ((first_bytes(load_word(p), length) ^ (last << 8 | length)) * multiplier) >> 56;
    }

    std::vector<Key> keys_;
    std::array<int, slots> first_{};
    std::uint64_t multiplier_ = 1;
};

}  // namespace perfkit
