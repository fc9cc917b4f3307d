// The scanner of Chrome-trace JSON as a Python extension: see _scan.pyi for what it offers. The scanning itself is in
// _scan_cpp/.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <tuple>

#include "_scan_cpp/stream.hpp"

namespace nb = nanobind;
using namespace perfkit;

namespace {

ColumnSpec parse_spec(const std::tuple<std::string, std::string, std::vector<std::string>, std::string>& text) {
    static constexpr std::pair<std::string_view, Kind> kinds[] = {
        {"time", Kind::time}, {"int", Kind::integer}, {"small", Kind::small},
        {"text", Kind::text}, {"json", Kind::json},   {"key", Kind::key},
    };
    const auto& [name, kind, keys, place] = text;
    for (const auto& [label, value] : kinds) {
        if (label == kind && (place == "event" || place == "args")) return {name, value, keys, place == "args"};
    }
    throw nb::value_error(("not a kind of column, or not a place: " + kind + ", " + place).c_str());
}

std::vector<ColumnSpec> parse_specs(nb::sequence columns) {
    std::vector<ColumnSpec> specs;
    for (nb::handle column : columns) {
        specs.push_back(
            parse_spec(nb::cast<std::tuple<std::string, std::string, std::vector<std::string>, std::string>>(column)));
    }
    return specs;
}

nb::bytes to_bytes(const std::string& text) { return nb::bytes(text.data(), text.size()); }

// A view of the bytes of a Python object, given back when done.
class BufferView {
public:
    explicit BufferView(nb::handle data) {
        if (PyObject_GetBuffer(data.ptr(), &view_, PyBUF_SIMPLE) == 0) return;
        const nb::python_error error;
        if (error.matches(PyExc_BufferError)) throw nb::value_error("the bytes must lie one after the other");
        throw nb::python_error(error);
    }
    ~BufferView() { PyBuffer_Release(&view_); }
    BufferView(const BufferView&) = delete;
    BufferView& operator=(const BufferView&) = delete;

    const Byte* data() const { return static_cast<const Byte*>(view_.buf); }
    std::size_t size() const { return static_cast<std::size_t>(view_.len); }

private:
    Py_buffer view_;
};

class Scanner {
public:
    explicit Scanner(nb::sequence columns) : stream_(parse_specs(columns)), taken_(stream_.recorder().columns.size()) {}

    void feed(nb::handle data) {
        const Turn turn(*this);
        if (stream_.finished()) throw nb::value_error("feed() after finish()");
        const BufferView view(data);
        scan([&] { stream_.feed(view.data(), view.size()); });
    }

    void finish() {
        const Turn turn(*this);
        scan([&] { stream_.finish(); });
    }

    nb::object column(const std::string& name) {
        const Turn turn(*this);
        if (!stream_.finished()) throw nb::value_error("the columns are there after finish()");
        const int number = stream_.recorder().column_number(name);
        if (number < 0 || taken_[static_cast<std::size_t>(number)])
            throw nb::value_error("no such column, or it was taken before");
        Column& values = stream_.recorder().columns[static_cast<std::size_t>(number)];
        taken_[static_cast<std::size_t>(number)] = true;
        return values.wide() ? take<std::int64_t>(values) : take<std::int32_t>(values);
    }

    nb::list strings() {
        const Turn turn(*this);
        const Strings& strings = stream_.recorder().strings;
        nb::list result;
        for (std::size_t i = 0; i < strings.size(); ++i) result.append(nb::bytes(strings[i].bytes, strings[i].length));
        return result;
    }

    nb::dict header() {
        const Turn turn(*this);
        nb::dict result;
        for (const auto& [key, value] : stream_.header) result[to_bytes(key)] = to_bytes(value);
        return result;
    }

    nb::list metadata() {
        const Turn turn(*this);
        nb::list result;
        for (const Metadata& entry : stream_.recorder().metadata) {
            result.append(nb::make_tuple(to_bytes(entry.name), to_bytes(entry.process), to_bytes(entry.thread),
                                         to_bytes(entry.args)));
        }
        return result;
    }

    nb::dict phases() {
        const Turn turn(*this);
        nb::dict result;
        for (const auto& [phase, count] : stream_.recorder().phases())
            result[nb::str(phase.data(), phase.size())] = count;
        return result;
    }

    nb::list defects() {
        const Turn turn(*this);
        std::vector<std::tuple<std::uint64_t, std::string_view, std::uint64_t>> found;
        const auto& entries = stream_.recorder().defects.entries();
        for (std::size_t i = 0; i < entries.size(); ++i) {
            if (entries[i].count != 0) found.emplace_back(entries[i].first, defect_names[i], entries[i].count);
        }
        std::sort(found.begin(), found.end());
        nb::list result;
        for (const auto& [first, name, count] : found)
            result.append(nb::make_tuple(nb::str(name.data(), name.size()), count, first));
        return result;
    }

    std::uint64_t rows() { return (Turn(*this), stream_.recorder().rows); }
    std::uint64_t bytes_seen() { return (Turn(*this), stream_.bytes_seen); }
    bool events_seen() { return (Turn(*this), stream_.events_seen); }
    nb::str top() { return (Turn(*this), nb::str(stream_.top.data(), stream_.top.size())); }

private:
    // One thread at a time: the scanner lets go of the GIL while it scans.
    class Turn {
    public:
        explicit Turn(Scanner& scanner) : busy_(scanner.busy_) {
            if (busy_.exchange(true)) throw std::runtime_error("the scanner is in use by another thread");
            if (!scanner.whole_) {
                busy_ = false;
                throw nb::value_error("the scanner ran out of memory before");
            }
        }
        ~Turn() { busy_ = false; }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

    private:
        std::atomic<bool>& busy_;
    };

    template <class Work>
    void scan(Work work) {
        whole_ = false;
        {
            const nb::gil_scoped_release released;
            work();
        }
        whole_ = true;
    }

    template <class Integer>
    nb::object take(Column& column) {
        const auto rows = static_cast<std::size_t>(stream_.recorder().rows);
        Column::Values<Integer> values = column.take<Integer>(rows);
        const nb::capsule owner(values.get(), [](void* p) noexcept { std::free(p); });
        return nb::cast(nb::ndarray<nb::numpy, Integer, nb::ndim<1>>(values.release(), {rows}, owner));
    }

    Stream stream_;
    std::vector<bool> taken_;
    std::atomic<bool> busy_{false};
    bool whole_ = true;  // false after running out of memory halfway
};

}  // namespace

NB_MODULE(_scan, module) {
    nb::class_<Scanner>(module, "Scanner")
        .def(nb::init<nb::sequence>(), nb::arg("columns"))
        .def("feed", &Scanner::feed, nb::arg("data"))
        .def("finish", &Scanner::finish)
        .def("column", &Scanner::column, nb::arg("name"))
        .def_prop_ro("rows", &Scanner::rows)
        .def_prop_ro("strings", &Scanner::strings)
        .def_prop_ro("header", &Scanner::header)
        .def_prop_ro("metadata", &Scanner::metadata)
        .def_prop_ro("phases", &Scanner::phases)
        .def_prop_ro("defects", &Scanner::defects)
        .def_prop_ro("top", &Scanner::top)
        .def_prop_ro("events_seen", &Scanner::events_seen)
        .def_prop_ro("bytes_seen", &Scanner::bytes_seen);
}
