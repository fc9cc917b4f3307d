// How what is written in C++ meets Python: turns, and how columns and strings are handed over.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <atomic>
#include <stdexcept>

#include "tables.hpp"

namespace perfkit {

// One thread at a time: an object may be met by another thread while it works without the GIL.
class Turns {
public:
    // A call into the object. Throws where another thread has its turn, or where work broke off halfway before.
    class Turn {
    public:
        explicit Turn(Turns& turns) : busy_(turns.busy_) {
            if (busy_.exchange(true)) throw std::runtime_error("in use by another thread");
            if (!turns.whole_) {
                busy_ = false;
                throw nanobind::value_error("ran out of memory before");
            }
        }
        ~Turn() { busy_ = false; }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

    private:
        std::atomic<bool>& busy_;
    };

    // Works without the GIL, in a turn.
    template <class Work>
    void work(Work work) {
        whole_ = false;
        {
            const nanobind::gil_scoped_release released;
            work();
        }
        whole_ = true;
    }

private:
    std::atomic<bool> busy_{false};
    bool whole_ = true;  // false after running out of memory halfway
};

template <class Integer>
nanobind::object take_as(Column& column, std::size_t rows) {
    Column::Values<Integer> values = column.take<Integer>(rows);
    const nanobind::capsule owner(values.get(), [](void* p) noexcept { std::free(p); });
    return nanobind::cast(
        nanobind::ndarray<nanobind::numpy, Integer, nanobind::ndim<1>>(values.release(), {rows}, owner));
}

// The column as a numpy array of `rows` values, which were never there twice.
inline nanobind::object take(Column& column, std::size_t rows) {
    return column.wide() ? take_as<std::int64_t>(column, rows) : take_as<std::int32_t>(column, rows);
}

inline nanobind::list to_list(const Strings& strings) {
    nanobind::list result;
    for (std::size_t i = 0; i < strings.size(); ++i) result.append(nanobind::bytes(strings[i].bytes, strings[i].length));
    return result;
}

}  // namespace perfkit
