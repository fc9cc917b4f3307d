// The compiled part of perfkit as a Python extension, see _scan.pyi for what it offers: the scanner of Chrome-trace JSON
// and the reader of SQLite tables, whose work is in _scan_cpp/, and the replay, whose work is in simulate/_replay_cpp/.

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <tuple>

#include "../simulate/_replay_cpp/replay.hpp"
#include "_scan_cpp/python.hpp"
#include "_scan_cpp/sqlite_table.hpp"
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
    using Turn = Turns::Turn;

public:
    explicit Scanner(nb::sequence columns) : stream_(parse_specs(columns)), taken_(stream_.recorder().columns.size()) {}

    void feed(nb::handle data) {
        const Turn turn(turns_);
        if (stream_.finished()) throw nb::value_error("feed() after finish()");
        const BufferView view(data);
        turns_.work([&] { stream_.feed(view.data(), view.size()); });
    }

    void finish() {
        const Turn turn(turns_);
        turns_.work([&] { stream_.finish(); });
    }

    nb::object column(const std::string& name) {
        const Turn turn(turns_);
        if (!stream_.finished()) throw nb::value_error("the columns are there after finish()");
        const int number = stream_.recorder().column_number(name);
        if (number < 0 || taken_[static_cast<std::size_t>(number)])
            throw nb::value_error("no such column, or it was taken before");
        Column& values = stream_.recorder().columns[static_cast<std::size_t>(number)];
        taken_[static_cast<std::size_t>(number)] = true;
        return take(values, static_cast<std::size_t>(stream_.recorder().rows));
    }

    nb::list strings() {
        const Turn turn(turns_);
        return to_list(stream_.recorder().strings);
    }

    nb::dict header() {
        const Turn turn(turns_);
        nb::dict result;
        for (const auto& [key, value] : stream_.header) result[to_bytes(key)] = to_bytes(value);
        return result;
    }

    nb::list metadata() {
        const Turn turn(turns_);
        nb::list result;
        for (const Metadata& entry : stream_.recorder().metadata) {
            result.append(nb::make_tuple(to_bytes(entry.name), to_bytes(entry.process), to_bytes(entry.thread),
                                         to_bytes(entry.args)));
        }
        return result;
    }

    nb::dict phases() {
        const Turn turn(turns_);
        nb::dict result;
        for (const auto& [phase, count] : stream_.recorder().phases())
            result[nb::str(phase.data(), phase.size())] = count;
        return result;
    }

    nb::list defects() {
        const Turn turn(turns_);
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

    std::uint64_t rows() { return (Turn(turns_), stream_.recorder().rows); }
    std::uint64_t bytes_seen() { return (Turn(turns_), stream_.bytes_seen); }
    bool events_seen() { return (Turn(turns_), stream_.events_seen); }
    nb::str top() { return (Turn(turns_), nb::str(stream_.top.data(), stream_.top.size())); }

private:
    Stream stream_;
    std::vector<bool> taken_;
    Turns turns_;
};

// The distinct texts of some tables.
class Texts {
public:
    std::int32_t add(const nb::bytes& text) {
        const Turns::Turn turn(turns);
        if (text.size() > text_limit) throw nb::value_error("a text of that length");
        std::string padded(text.c_str(), text.size());
        padded.append(padding, '\0');
        return strings.intern(reinterpret_cast<const Byte*>(padded.data()), static_cast<std::uint32_t>(text.size()));
    }

    nb::list listed() {
        const Turns::Turn turn(turns);
        return to_list(strings);
    }

    Strings strings;
    Turns turns;
};

// One table; its turns are those of its texts.
class Table {
    using Turn = Turns::Turn;

public:
    Table(int file, std::uint32_t root, nb::sequence columns, Texts& texts, std::uint32_t longest_text)
        : turns_(texts.turns),
          reader_(file, root, parse_columns(columns), texts.strings, longest_text),
          taken_(reader_.columns.size()) {}

    bool read(std::uint64_t pages) {
        const Turn turn(turns_);
        bool more = false;
        turns_.work([&] { more = reader_.read(pages); });
        return more;
    }

    nb::object column(std::size_t number) {
        const Turn turn(turns_);
        if (number >= taken_.size() || taken_[number]) throw nb::value_error("no such column, or it was taken before");
        taken_[number] = true;
        return take(reader_.columns[number], static_cast<std::size_t>(reader_.rows));
    }

    bool readable() { return (Turn(turns_), reader_.readable()); }
    std::uint64_t rows() { return (Turn(turns_), reader_.rows); }
    std::uint64_t bytes_read() { return (Turn(turns_), reader_.bytes_read()); }
    std::uint64_t broken_rows() { return (Turn(turns_), reader_.broken_rows); }
    std::uint64_t broken_pages() { return (Turn(turns_), reader_.broken_pages()); }
    std::uint64_t wrong_types() { return (Turn(turns_), reader_.wrong_types); }
    std::uint64_t long_texts() { return (Turn(turns_), reader_.long_texts); }

private:
    static std::vector<TableColumn> parse_columns(nb::sequence columns) {
        static constexpr std::pair<std::string_view, ValueKind> kinds[] = {
            {"int", ValueKind::integer}, {"text", ValueKind::text}, {"rowid", ValueKind::rowid}};
        std::vector<TableColumn> wanted;
        for (nb::handle column : columns) {
            const auto [place, label] = nb::cast<std::tuple<std::uint32_t, std::string>>(column);
            const auto found = std::find_if(std::begin(kinds), std::end(kinds),
                                            [&, &name = label](const auto& kind) { return kind.first == name; });
            if (found == std::end(kinds)) throw nb::value_error(("not a kind of value: " + label).c_str());
            wanted.push_back({place, found->second});
        }
        return wanted;
    }

    Turns& turns_;
    TableReader reader_;
    std::vector<bool> taken_;
};

template <class Integer>
using Given = nb::ndarray<const Integer, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class Integer>
nb::object to_array(std::vector<Integer>&& values) {
    auto kept = std::make_unique<std::vector<Integer>>(std::move(values));
    Integer* data = kept->data();
    const std::size_t size = kept->size();
    const nb::capsule owner(kept.release(), [](void* p) noexcept { delete static_cast<std::vector<Integer>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, Integer, nb::ndim<1>>(data, {size}, owner));
}

// Every value is the number of a node: below `nodes`.
void check_numbers(const Given<std::int32_t>& values, std::size_t nodes) {
    for (std::size_t i = 0; i < values.shape(0); ++i)
        if (values.data()[i] < 0 || static_cast<std::size_t>(values.data()[i]) >= nodes)
            throw nb::value_error("there is no node of that number");
}

nb::tuple schedule_nodes(Given<std::int32_t> target, Given<std::int32_t> source, Given<std::int32_t> seen) {
    const std::size_t nodes = seen.shape(0), edges = source.shape(0);
    if (target.shape(0) != edges) throw nb::value_error("as many targets as sources");
    for (const auto& values : {target, source, seen}) check_numbers(values, nodes);
    std::vector<bool> met(nodes);
    for (std::size_t i = 0; i < nodes; ++i) met[static_cast<std::size_t>(seen.data()[i])] = true;
    if (std::find(met.begin(), met.end(), false) != met.end()) throw nb::value_error("every node, once");
    Schedule found;
    {
        const nb::gil_scoped_release released;
        found = schedule(nodes, target.data(), source.data(), edges, seen.data());
    }
    return nb::make_tuple(to_array(std::move(found.order)), to_array(std::move(found.first)),
                          to_array(std::move(found.position)));
}

using GivenEdges = std::tuple<Given<std::int64_t>, Given<std::int32_t>, Given<std::int64_t>, Given<std::int32_t>,
                              Given<std::uint8_t>>;

nb::object replay_nodes(GivenEdges given, Given<std::int32_t> order, Given<std::int64_t> earliest,
                        Given<std::int64_t> own,
                        nb::ndarray<const std::int64_t, nb::ndim<3>, nb::c_contig, nb::device::cpu> draws) {
    const auto& [first, source, lag, table, behind] = given;
    const std::size_t nodes = own.shape(0), edges = source.shape(0);
    const std::size_t lanes = draws.shape(0), tables = draws.shape(1), size = draws.shape(2);
    if (lag.shape(0) != edges || table.shape(0) != edges || behind.shape(0) != edges || earliest.shape(0) != nodes ||
        order.shape(0) != nodes || first.shape(0) != nodes + 1)
        throw nb::value_error("arrays of one graph");
    for (std::size_t n = 0; n < nodes; ++n)
        if (first.data()[n] < 0 || first.data()[n + 1] < first.data()[n]) throw nb::value_error("edges by target");
    if (first.data()[nodes] != static_cast<std::int64_t>(edges)) throw nb::value_error("as many edges as sources");
    if (lanes == 0 || size == 0 || (size & (size - 1)) != 0) throw nb::value_error("edges draw from a power of two");
    for (std::size_t e = 0; e < edges; ++e)
        if (table.data()[e] >= static_cast<std::int64_t>(tables)) throw nb::value_error("edges of a table there is");
    for (const auto& values : {source, order}) check_numbers(values, nodes);
    auto time = std::make_unique<std::vector<std::int64_t>>(nodes * lanes);
    {
        const nb::gil_scoped_release released;
        const Edges linked{first.data(), source.data(), lag.data(), table.data(), behind.data()};
        replay(nodes, linked, order.data(), earliest.data(), own.data(), {draws.data(), lanes, tables, size}, time->data());
    }
    std::int64_t* data = time->data();
    const nb::capsule owner(time.release(), [](void* p) noexcept { delete static_cast<std::vector<std::int64_t>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, std::int64_t, nb::ndim<2>>(data, {nodes, lanes}, owner));
}

}  // namespace

NB_MODULE(_scan, module) {
    module.def("schedule", &schedule_nodes, nb::arg("target"), nb::arg("source"), nb::arg("seen"));
    module.def("replay", &replay_nodes, nb::arg("edges"), nb::arg("order"), nb::arg("earliest"), nb::arg("own"),
               nb::arg("draws"));
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
    nb::class_<Texts>(module, "Texts")
        .def(nb::init<>())
        .def("add", &Texts::add, nb::arg("text"))
        .def_prop_ro("strings", &Texts::listed);
    nb::class_<Table>(module, "Table")
        .def(nb::init<int, std::uint32_t, nb::sequence, Texts&, std::uint32_t>(), nb::arg("file"), nb::arg("root"),
             nb::arg("columns"), nb::arg("texts"), nb::arg("longest_text"), nb::keep_alive<1, 5>())
        .def("read", &Table::read, nb::arg("pages"))
        .def("column", &Table::column, nb::arg("number"))
        .def_prop_ro("readable", &Table::readable)
        .def_prop_ro("rows", &Table::rows)
        .def_prop_ro("broken_rows", &Table::broken_rows)
        .def_prop_ro("broken_pages", &Table::broken_pages)
        .def_prop_ro("wrong_types", &Table::wrong_types)
        .def_prop_ro("long_texts", &Table::long_texts)
        .def_prop_ro("bytes_read", &Table::bytes_read);
}
