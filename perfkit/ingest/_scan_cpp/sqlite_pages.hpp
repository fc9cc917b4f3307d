// A SQLite database file as numbered pages (https://www.sqlite.org/fileformat2.html): its header, and the b-tree of one
// table, walked in the order of its rows. No page is taken twice, so that no file makes more work than its size.
#pragma once

#include "file_window.hpp"

namespace perfkit {

PERFKIT_HOT std::uint32_t load_big16(const Byte* p) { return std::uint32_t{p[0]} << 8 | p[1]; }

PERFKIT_HOT std::uint32_t load_big32(const Byte* p) { return load_big16(p) << 16 | load_big16(p + 2); }

// The first 100 bytes of a database, as far as they matter here.
struct DatabaseHeader {
    static constexpr std::size_t size = 100;

    static constexpr std::uint32_t least_page = 512, least_usable = 480;

    // Of a file that is not readable: no pages.
    std::uint32_t page_size = least_page;
    std::uint32_t usable = least_page;  // bytes of each page
    std::uint32_t page_count = 0;
    bool readable = false;

    explicit DatabaseHeader(const File& file) {
        static constexpr std::string_view magic("SQLite format 3\0", 16);
        static constexpr std::uint32_t utf16 = 2, versions = 2;
        Byte bytes[size];
        if (file.read(0, bytes, size) != size || !equals(bytes, magic.size(), magic)) return;
        const std::uint32_t stored = load_big16(bytes + 16);
        const std::uint32_t page = stored == 1 ? 65536 : stored;
        const bool fractions = bytes[21] == 64 && bytes[22] == 32 && bytes[23] == 32;
        if (page < least_page || (page & (page - 1)) != 0 || page - bytes[20] < least_usable || !fractions) return;
        if (bytes[19] > versions || load_big32(bytes + 56) >= utf16) return;
        page_size = page;
        usable = page - bytes[20];
        page_count = static_cast<std::uint32_t>(std::min<std::uint64_t>(file.size() / page, 0xfffffffe));
        readable = true;
    }
};

// Which pages were seen.
class PageSet {
public:
    explicit PageSet(std::uint32_t page_count) : words_(std::size_t{page_count} / 64 + 1) {}

    // False for a page that was there before.
    bool add(std::uint32_t page) {
        std::uint64_t& word = words_[page / 64];
        const std::uint64_t bit = std::uint64_t{1} << page % 64;
        const bool fresh = (word & bit) == 0;
        word |= bit;
        return fresh;
    }

private:
    std::vector<std::uint64_t> words_;
};

// A leaf of a table's b-tree.
struct Leaf {
    const Byte* page;
    const Byte* pointers;  // two bytes for each cell
    std::uint32_t cells;
    std::uint32_t content;  // the offset that no cell comes before
};

// Walks the leaves of the table whose b-tree has the given root.
class TreeWalk {
public:
    TreeWalk(const File& file, const DatabaseHeader& header, std::uint32_t root)
        : header_(header), window_(file, header.page_size, header.page_count), seen_(header.page_count) {
        levels_.push_back({{root}, 0});
    }

    // Whether the root is that of an index, as a table WITHOUT ROWID is stored.
    bool is_index() {
        const std::uint32_t root = levels_.front().children.front();
        const Byte* const page = root == 1 ? nullptr : window_.page(root);
        return page != nullptr && (page[0] == interior_index || page[0] == leaf_index);
    }

    // Moves to the next leaf, if there is one.
    bool next(Leaf& leaf) {
        while (!levels_.empty()) {
            Level& level = levels_.back();
            if (level.next == level.children.size()) {
                levels_.pop_back();
            } else if (enter(level.children[level.next++], leaf)) {
                return true;
            }
        }
        return false;
    }

    // Takes a page that is no part of the tree, such as one with the rest of a long row; false if that cannot be.
    bool claim(std::uint32_t page) {
        if (page == 0 || page > header_.page_count || !seen_.add(page)) return false;
        ++pages_read;
        return true;
    }

    std::uint64_t pages_read = 0;
    std::uint64_t broken_pages = 0;

private:
    static constexpr Byte interior_index = 0x02, interior_table = 0x05, leaf_index = 0x0a, leaf_table = 0x0d;
    static constexpr std::size_t deepest = 20;  // as in SQLite; 2^31 pages are fewer than 20 levels of two

    struct Level {
        std::vector<std::uint32_t> children;
        std::size_t next;
    };

    // True for a leaf; the children of any other page come next.
    bool enter(std::uint32_t number, Leaf& leaf) {
        const Byte* const page = claim(number) ? window_.page(number) : nullptr;
        if (page != nullptr) {
            const std::uint32_t start = number == 1 ? DatabaseHeader::size : 0;
            const Byte kind = page[start];
            const std::uint32_t cells = load_big16(page + start + 3);
            const std::uint32_t pointers = start + (kind == leaf_table ? 8 : 12);
            if (pointers + 2 * cells <= header_.usable) {
                leaf = {page, page + pointers, cells, pointers + 2 * cells};
                if (kind == leaf_table) return true;
                if (kind == interior_table && levels_.size() < deepest) {
                    descend(leaf, load_big32(page + start + 8));
                    return false;
                }
            }
        }
        ++broken_pages;
        return false;
    }

    void descend(const Leaf& interior, std::uint32_t last_child) {
        Level& level = levels_.emplace_back();
        level.next = 0;
        level.children.reserve(interior.cells + 1);
        for (std::uint32_t i = 0; i < interior.cells; ++i) {
            const std::uint32_t at = load_big16(interior.pointers + 2 * i);
            if (at >= interior.content && at + 4 < header_.usable) {
                level.children.push_back(load_big32(interior.page + at));
            } else {
                ++broken_pages;
            }
        }
        level.children.push_back(last_child);
    }

    DatabaseHeader header_;
    PageWindow window_;
    PageSet seen_;
    std::vector<Level> levels_;
};

}  // namespace perfkit
