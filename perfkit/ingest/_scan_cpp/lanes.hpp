// Bytes side by side: the registers that every machine of the target has (SSE2, NEON), or one 64-bit word.
// A Lane is `width` bytes, or the yes/no answers of a comparison; a Block is the 64 bytes that one 64-bit mask
// describes. AVX2 brought nothing measurable: most strings of a trace are shorter than 16 bytes.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#endif

// For what runs for every member of every event, and for what hardly ever runs but would crowd it out.
#if defined(_MSC_VER) && !defined(__clang__)
#define PERFKIT_HOT __forceinline
#define PERFKIT_COLD __declspec(noinline)
#else
#define PERFKIT_HOT [[gnu::always_inline]] inline
#define PERFKIT_COLD [[gnu::noinline]]
#endif

namespace perfkit {

using Byte = std::uint8_t;

PERFKIT_HOT std::uint64_t load_word(const Byte* p) {
    std::uint64_t word;
    std::memcpy(&word, p, sizeof word);
    if constexpr (std::endian::native == std::endian::big) {
        std::uint64_t swapped = 0;
        for (int i = 0; i < 8; ++i) swapped |= ((word >> (8 * i)) & 0xff) << (56 - 8 * i);
        word = swapped;
    }
    return word;
}

#if defined(__SSE2__) || defined(_M_X64)

struct Lane {
    static constexpr unsigned width = 16;
    using Hits = std::uint32_t;
    __m128i bytes;

    static Lane load(const Byte* p) { return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))}; }
    Lane is(char c) const { return {_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c))}; }
    Lane at_most(Byte limit) const {
        return {_mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(static_cast<char>(limit))), bytes)};
    }
    Lane with_bits(Byte bits) const { return {_mm_or_si128(bytes, _mm_set1_epi8(static_cast<char>(bits)))}; }
    Lane operator|(Lane other) const { return {_mm_or_si128(bytes, other.bytes)}; }
    Hits hits() const { return static_cast<Hits>(_mm_movemask_epi8(bytes)); }
    Hits misses() const { return hits() ^ 0xffff; }
    static unsigned index(Hits hits) { return static_cast<unsigned>(std::countr_zero(hits)); }
};

#elif defined(__aarch64__) || defined(_M_ARM64)

struct Lane {
    static constexpr unsigned width = 16;
    using Hits = std::uint64_t;  // four bits a byte
    uint8x16_t bytes;

    static Lane load(const Byte* p) { return {vld1q_u8(p)}; }
    Lane is(char c) const { return {vceqq_u8(bytes, vdupq_n_u8(static_cast<Byte>(c)))}; }
    Lane at_most(Byte limit) const { return {vcleq_u8(bytes, vdupq_n_u8(limit))}; }
    Lane with_bits(Byte bits) const { return {vorrq_u8(bytes, vdupq_n_u8(bits))}; }
    Lane operator|(Lane other) const { return {vorrq_u8(bytes, other.bytes)}; }
    Hits hits() const { return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(bytes), 4)), 0); }
    Hits misses() const { return ~hits(); }
    static unsigned index(Hits hits) { return static_cast<unsigned>(std::countr_zero(hits)) >> 2; }
};

#else

struct Lane {
    static constexpr unsigned width = 8;
    using Hits = std::uint64_t;  // the top bit of each byte
    static constexpr std::uint64_t ones = 0x0101010101010101, low = 0x7f7f7f7f7f7f7f7f, top = 0x8080808080808080;
    std::uint64_t bytes;

    static Lane load(const Byte* p) { return {load_word(p)}; }
    Lane is(char c) const {
        const std::uint64_t odd = bytes ^ (ones * static_cast<Byte>(c));
        return {~(((odd & low) + low) | odd) & top};
    }
    Lane at_most(Byte limit) const { return {~(((bytes & low) + ones * (0x7fu - limit)) | bytes) & top}; }
    Lane with_bits(Byte bits) const { return {bytes | ones * bits}; }
    Lane operator|(Lane other) const { return {bytes | other.bytes}; }
    Hits hits() const { return bytes; }
    Hits misses() const { return bytes ^ top; }
    static unsigned index(Hits hits) { return static_cast<unsigned>(std::countr_zero(hits)) >> 3; }
};

#endif

class Block {
public:
    static constexpr unsigned size = 64;

    explicit Block(const Byte* p) {
        for (unsigned i = 0; i < lanes; ++i) lane_[i] = Lane::load(p + i * Lane::width);
    }

    // One bit for every byte of which `test` says yes, the first byte in the lowest bit.
    template <class Test>
    std::uint64_t where(Test test) const {
#if defined(__aarch64__) || defined(_M_ARM64)
        static constexpr Byte weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
        const uint8x16_t weight = vld1q_u8(weights);
        const uint8x16_t first =
            vpaddq_u8(vandq_u8(test(lane_[0]).bytes, weight), vandq_u8(test(lane_[1]).bytes, weight));
        const uint8x16_t second =
            vpaddq_u8(vandq_u8(test(lane_[2]).bytes, weight), vandq_u8(test(lane_[3]).bytes, weight));
        const uint8x16_t folded = vpaddq_u8(first, second);
        return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(folded, folded)), 0);
#else
        std::uint64_t mask = 0;
        for (unsigned i = 0; i < lanes; ++i) {
            std::uint64_t bits = test(lane_[i]).hits();
            if constexpr (Lane::width == 8) bits = ((bits >> 7) * 0x0102040810204080) >> 56;
            mask |= bits << (i * Lane::width);
        }
        return mask;
#endif
    }

private:
    static constexpr unsigned lanes = size / Lane::width;
    Lane lane_[lanes];
};

// Bit i is the exclusive or of the bits 0..i: between an odd and an even quote it is 1.
PERFKIT_HOT std::uint64_t running_parity(std::uint64_t bits) {
    for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
    return bits;
}

}  // namespace perfkit
