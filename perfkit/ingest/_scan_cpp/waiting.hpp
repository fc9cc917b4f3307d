// What is left of the bytes fed so far.
#pragma once

#include <vector>

#include "text.hpp"

namespace perfkit {

// Bytes that wait for more, with `padding` zeros after them.
class Waiting {
public:
    const Byte* begin() const { return bytes_.data(); }
    std::size_t size() const { return size_; }

    void append(const Byte* data, std::size_t count) {
        if (bytes_.size() < size_ + count + padding) bytes_.resize((size_ + count) / 2 * 3 + 2 * padding);
        if (count != 0) std::memcpy(bytes_.data() + size_, data, count);
        set_size(size_ + count);
    }

    void drop_front(std::size_t count) {
        if (count != 0) std::memmove(bytes_.data(), bytes_.data() + count, size_ - count);
        set_size(size_ - count);
    }

private:
    void set_size(std::size_t size) {
        size_ = size;
        std::memset(bytes_.data() + size_, 0, padding);
    }

    std::vector<Byte> bytes_ = std::vector<Byte>(padding);
    std::size_t size_ = 0;
};

}  // namespace perfkit
