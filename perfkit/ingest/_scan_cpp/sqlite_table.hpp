// The columns of one table of a SQLite database.
#pragma once

#include "sqlite_records.hpp"
#include "tables.hpp"

namespace perfkit {

enum class ValueKind { integer, text, rowid };

struct TableColumn {
    std::uint32_t place;  // in the rows; of no meaning for a rowid
    ValueKind kind;
};

class TableReader {
public:
    static constexpr std::uint32_t most_places = 32768;  // a table of SQLite has fewer columns

    // Texts are numbered in `strings`, which nobody else may use during `read`, and cut after `longest_text` bytes.
    // Throws std::invalid_argument for columns that cannot be.
    TableReader(int descriptor, std::uint32_t root, const std::vector<TableColumn>& wanted, Strings& strings,
                std::uint32_t longest_text)
        : strings_(strings),
          longest_text_(longest_text),
          file_(descriptor),
          header_(file_),
          walk_(file_, header_, root),
          payload_(file_, header_) {
        for (const TableColumn& column : wanted) {
            const auto output = static_cast<int>(columns.size());
            columns.emplace_back(column.kind != ValueKind::text);
            kinds_.push_back(column.kind);
            if (column.kind == ValueKind::rowid) continue;
            if (column.place >= most_places) throw std::invalid_argument("a row has no such place");
            if (outputs_.size() <= column.place) outputs_.resize(column.place + 1, unwanted);
            if (outputs_[column.place] != unwanted) throw std::invalid_argument("a place wanted twice");
            outputs_[column.place] = output;
        }
        values_.resize(columns.size());
        readable_ = header_.readable && !walk_.is_index();
    }

    // Whether it is a database, and a table, of the kind that is read here. If not, there are no rows.
    bool readable() const { return readable_; }

    // Reads on for about `pages` pages; false when there is nothing more.
    bool read(std::uint64_t pages) {
        const std::uint64_t stop = walk_.pages_read + pages;
        Leaf leaf;
        while (walk_.pages_read < stop) {
            if (!readable_ || !walk_.next(leaf)) return false;
            read_leaf(leaf);
        }
        return true;
    }

    std::uint64_t bytes_read() const { return walk_.pages_read * header_.page_size; }
    std::uint64_t broken_pages() const { return walk_.broken_pages; }

    std::vector<Column> columns;
    std::uint64_t rows = 0;
    std::uint64_t broken_rows = 0;
    std::uint64_t wrong_types = 0;  // values that are neither null nor of the kind of their column
    std::uint64_t long_texts = 0;

private:
    static constexpr int unwanted = -1;

    struct Value {
        std::uint64_t type, offset;
    };

    void read_leaf(const Leaf& leaf) {
        std::uint32_t room = header_.usable;
        for (std::uint32_t i = 0; i < leaf.cells; ++i) {
            Cell cell;
            std::uint32_t bytes;
            if (!read_cell(leaf, load_big16(leaf.pointers + 2 * i), header_, cell, bytes) || !read_row(cell)) {
                ++broken_rows;
                continue;
            }
            // Cells that lie on one another would make the work more than the size of the file.
            if (bytes > room) {
                broken_rows += leaf.cells - i - 1;
                return;
            }
            room -= bytes;
        }
    }

    // False, and no row, if the cell holds none.
    bool read_row(const Cell& cell) {
        payload_.start();
        std::uint64_t needed;
        if (!find_values(cell, needed)) return false;
        const Byte* const bytes = payload_.first(cell, needed, walk_);
        if (bytes == nullptr) return false;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            switch (kinds_[i]) {
                case ValueKind::rowid: columns[i].put<std::int64_t>(rows, cell.rowid); break;
                case ValueKind::integer: put_integer(i, bytes); break;
                case ValueKind::text: put_text(i, bytes); break;
            }
        }
        ++rows;
        return true;
    }

    // Finds the types and offsets of the wanted values, and how many bytes of the row they need.
    bool find_values(const Cell& cell, std::uint64_t& needed) {
        std::uint64_t header_size;
        if (read_varint(cell.payload, header_size) > cell.payload + cell.local || header_size > cell.size) return false;
        std::fill(values_.begin(), values_.end(), Value{SerialType::null, 0});
        needed = 0;
        if (header_size == 0) return true;  // as SQLite has it
        const Byte* p = payload_.first(cell, header_size, walk_);
        if (p == nullptr) return false;
        const Byte* const end = p + header_size;
        p = read_varint(p, header_size);
        std::uint64_t offset = header_size;
        for (const int output : outputs_) {
            if (p >= end) break;
            std::uint64_t type;
            p = read_varint(p, type);
            const std::uint64_t length = SerialType::length(type);
            if (length > cell.size - offset) return false;
            if (output != unwanted) {
                values_[static_cast<std::size_t>(output)] = {type, offset};
                needed = offset + std::min<std::uint64_t>(length, longest_text_);
            }
            offset += length;
        }
        return p <= end && (p < end || offset == cell.size);
    }

    PERFKIT_HOT void put_integer(std::size_t i, const Byte* bytes) {
        const auto [type, offset] = values_[i];
        if (SerialType::is_integer(type)) [[likely]] {
            columns[i].put<std::int64_t>(rows, load_integer(bytes + offset, type));
        } else if (!SerialType::is_null(type)) {
            ++wrong_types;
        }
    }

    PERFKIT_HOT void put_text(std::size_t i, const Byte* bytes) {
        const auto [type, offset] = values_[i];
        if (SerialType::is_text(type)) {
            auto length = static_cast<std::uint32_t>(SerialType::length(type));
            if (length > longest_text_) {
                ++long_texts;
                length = longest_text_;
            }
            columns[i].put<std::int32_t>(rows, strings_.intern(bytes + offset, length));
        } else if (!SerialType::is_null(type)) {
            ++wrong_types;
        }
    }

    Strings& strings_;
    std::uint32_t longest_text_;
    File file_;
    DatabaseHeader header_;
    TreeWalk walk_;
    Payload payload_;
    bool readable_ = false;
    std::vector<int> outputs_;  // by place in the row
    std::vector<ValueKind> kinds_;
    std::vector<Value> values_;  // of the row in hand, by output
};

}  // namespace perfkit
