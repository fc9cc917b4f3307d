// Pages of an open file, read where they lie and ahead of that while they come in order. Reads instead of a mapping:
// a file that shrinks meanwhile, or a disk that fails, is then a page less and not the end of the process.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <memory>

#if defined(_WIN32)
#include <io.h>
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <cerrno>
#include <unistd.h>
#endif

#include "text.hpp"

namespace perfkit {

// An open file that somebody else closes.
class File {
public:
    explicit File(int descriptor) : descriptor_(descriptor) {
#if defined(_WIN32)
        struct _stat64 status;
        if (_fstat64(descriptor, &status) == 0 && status.st_size > 0) size_ = static_cast<std::uint64_t>(status.st_size);
#else
        struct stat status;
        if (fstat(descriptor, &status) == 0 && status.st_size > 0) size_ = static_cast<std::uint64_t>(status.st_size);
#endif
    }

    // As it was when it was opened here; 0 if that cannot be known.
    std::uint64_t size() const { return size_; }

    // Reads bytes at `offset`, and says how many: fewer at the end of the file, or where it cannot be read.
    std::size_t read(std::uint64_t offset, Byte* out, std::size_t length) const {
        std::size_t done = 0;
        while (done < length) {
            const std::size_t count = read_some(offset + done, out + done, length - done);
            if (count == 0) break;
            done += count;
        }
        return done;
    }

private:
#if defined(_WIN32)
    std::size_t read_some(std::uint64_t offset, Byte* out, std::size_t length) const {
        OVERLAPPED place{};
        place.Offset = static_cast<DWORD>(offset);
        place.OffsetHigh = static_cast<DWORD>(offset >> 32);
        DWORD count = 0;
        const auto handle = reinterpret_cast<HANDLE>(_get_osfhandle(descriptor_));
        const auto wanted = static_cast<DWORD>(std::min<std::size_t>(length, 1 << 30));
        return ReadFile(handle, out, wanted, &count, &place) ? count : 0;
    }
#else
    std::size_t read_some(std::uint64_t offset, Byte* out, std::size_t length) const {
        for (;;) {
            const ssize_t count = pread(descriptor_, out, length, static_cast<off_t>(offset));
            if (count >= 0) return static_cast<std::size_t>(count);
            if (errno != EINTR) return 0;
        }
    }
#endif

    int descriptor_;
    std::uint64_t size_ = 0;
};

// The pages of a file, numbered from 1; `padding` bytes after each may be read.
class PageWindow {
public:
    PageWindow(const File& file, std::uint32_t page_size, std::uint32_t page_count)
        : file_(&file),
          page_size_(page_size),
          page_count_(page_count),
          least_(std::max(least_bytes / page_size, 1u)),
          most_(std::max(most_bytes / page_size, 1u)),
          ahead_(least_) {}

    // The page, good until the next call; null if there is none, or it cannot be read.
    PERFKIT_HOT const Byte* page(std::uint32_t number) {
        if (number - first_ < count_) [[likely]]
            return buffer_.get() + std::size_t{number - first_} * page_size_;
        return load(number);
    }

private:
    static constexpr std::uint32_t least_bytes = 16 << 10, most_bytes = 256 << 10;

    PERFKIT_COLD const Byte* load(std::uint32_t number) {
        if (number == 0 || number > page_count_) return nullptr;
        if (buffer_ == nullptr) buffer_ = std::make_unique<Byte[]>(std::size_t{most_} * page_size_ + padding);
        // Pages of other tables often lie between those of one.
        const std::uint32_t skipped = number - (first_ + count_);
        ahead_ = count_ != 0 && skipped <= count_ ? std::min(2 * ahead_, most_) : least_;
        const std::uint32_t wanted = std::min(ahead_, page_count_ - number + 1);
        const std::uint64_t offset = std::uint64_t{number - 1} * page_size_;
        first_ = number;
        count_ = static_cast<std::uint32_t>(
            file_->read(offset, buffer_.get(), std::size_t{wanted} * page_size_) / page_size_);
        return count_ == 0 ? nullptr : buffer_.get();
    }

    const File* file_;
    std::uint32_t page_size_, page_count_, least_, most_, ahead_;
    std::uint32_t first_ = 0, count_ = 0;
    std::unique_ptr<Byte[]> buffer_;
};

}  // namespace perfkit
