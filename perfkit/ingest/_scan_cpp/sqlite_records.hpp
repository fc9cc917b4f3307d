// One row of a SQLite table: the cell that holds it, the chain of pages that a long one goes on in, and the types and
// places of its values.
#pragma once

#include "sqlite_pages.hpp"

namespace perfkit {

PERFKIT_COLD inline const Byte* read_long_varint(const Byte* p, std::uint64_t& value) {
    value = 0;
    for (int i = 0; i < 8; ++i, ++p) {
        value = value << 7 | (*p & 0x7f);
        if (*p < 0x80) return p + 1;
    }
    value = value << 8 | *p;
    return p + 1;
}

// Big-endian, seven bits a byte, eight in the ninth. Up to nine bytes may be read, so that what is returned is to be
// compared with where they end.
PERFKIT_HOT const Byte* read_varint(const Byte* p, std::uint64_t& value) {
    if (*p < 0x80) [[likely]] {
        value = *p;
        return p + 1;
    }
    if (p[1] < 0x80) {
        value = std::uint64_t{*p & 0x7fu} << 7 | p[1];
        return p + 2;
    }
    return read_long_varint(p, value);
}

inline constexpr std::uint64_t longest_row = 0x7fffffff;

// A row as it lies in a leaf: `local` bytes of it, the rest in a chain of pages.
struct Cell {
    const Byte* payload = nullptr;
    std::uint64_t size = 0;
    std::uint32_t local = 0;
    std::uint32_t next = 0;  // the first page of the chain
    std::int64_t rowid = 0;
};

// How much of a cell lies in its leaf.
inline std::uint32_t local_bytes(std::uint64_t size, std::uint32_t usable) {
    const std::uint32_t most = usable - 35;
    if (size <= most) [[likely]]
        return static_cast<std::uint32_t>(size);
    const std::uint32_t least = (usable - 12) * 32 / 255 - 23;
    const auto fitting = least + static_cast<std::uint32_t>((size - least) % (usable - 4));
    return fitting <= most ? fitting : least;
}

// Reads the cell at `at`. False if it is none; else `bytes` is its length.
PERFKIT_HOT bool read_cell(const Leaf& leaf, std::uint32_t at, const DatabaseHeader& header, Cell& cell,
                           std::uint32_t& bytes) {
    if (at < leaf.content || at >= header.usable) return false;
    const Byte* const begin = leaf.page + at;
    const Byte* const end = leaf.page + header.usable;
    std::uint64_t rowid;
    const Byte* const p = read_varint(read_varint(begin, cell.size), rowid);
    if (p > end || cell.size > std::min(longest_row, std::uint64_t{header.page_count} * header.usable)) return false;
    cell.payload = p;
    cell.rowid = static_cast<std::int64_t>(rowid);
    cell.local = local_bytes(cell.size, header.usable);
    const std::size_t pointer = cell.local < cell.size ? 4 : 0;
    if (static_cast<std::size_t>(end - p) < cell.local + pointer) return false;
    if (pointer != 0) cell.next = load_big32(p + cell.local);
    bytes = static_cast<std::uint32_t>(p - begin) + cell.local + static_cast<std::uint32_t>(pointer);
    return true;
}

// The bytes of one cell after another, put together where they lie apart.
class Payload {
public:
    Payload(const File& file, const DatabaseHeader& header)
        : header_(header), window_(file, header.page_size, header.page_count) {}

    // The first `wanted` (at most all) bytes of the cell, `padding` more may be read; null if the chain is broken.
    // Good until the next call.
    PERFKIT_HOT const Byte* first(const Cell& cell, std::uint64_t wanted, TreeWalk& walk) {
        if (wanted <= cell.local) [[likely]]
            return cell.payload;
        return gather(cell, wanted, walk);
    }

    // To be called before the first use of a cell.
    void start() { size_ = 0; }

private:
    PERFKIT_COLD const Byte* gather(const Cell& cell, std::uint64_t wanted, TreeWalk& walk) {
        if (size_ == 0) {
            append(cell.payload, cell.local);
            next_ = cell.next;
        }
        while (size_ < wanted) {
            const Byte* const page = walk.claim(next_) ? window_.page(next_) : nullptr;
            if (page == nullptr) return nullptr;
            next_ = load_big32(page);
            append(page + 4, static_cast<std::size_t>(std::min<std::uint64_t>(header_.usable - 4, cell.size - size_)));
        }
        return bytes_.data();
    }

    void append(const Byte* p, std::size_t length) {
        if (bytes_.size() < size_ + length + padding) bytes_.resize(2 * (size_ + length + padding));
        std::memcpy(bytes_.data() + size_, p, length);
        size_ += length;
    }

    DatabaseHeader header_;
    PageWindow window_;
    std::vector<Byte> bytes_;
    std::size_t size_ = 0;
    std::uint32_t next_ = 0;
};

// The type of a value in a row, as the row's header has it.
struct SerialType {
    static constexpr std::uint64_t null = 0, zero = 8, one = 9, first_reserved = 10, first_blob = 12, first_text = 13;

    static constexpr std::array<std::uint8_t, 12> lengths{0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};

    PERFKIT_HOT static std::uint64_t length(std::uint64_t type) {
        return type < first_blob ? lengths[static_cast<std::size_t>(type)] : (type - first_blob) / 2;
    }
    static bool is_integer(std::uint64_t type) { return (type - 1 < 6) || type == zero || type == one; }
    static bool is_text(std::uint64_t type) { return type >= first_text && (type & 1) != 0; }
    static bool is_null(std::uint64_t type) { return type == null || type == 10 || type == 11; }
};

// The integer at `p`, of a type that is one; `padding` bytes at `p` may be read.
PERFKIT_HOT std::int64_t load_integer(const Byte* p, std::uint64_t type) {
    if (type >= SerialType::zero) return static_cast<std::int64_t>(type - SerialType::zero);
    const std::uint64_t high = std::uint64_t{load_big32(p)} << 32 | load_big32(p + 4);
    return static_cast<std::int64_t>(high) >> (64 - 8 * SerialType::lengths[static_cast<std::size_t>(type)]);
}

}  // namespace perfkit
