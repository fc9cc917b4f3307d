// The replay of a program as a graph: nodes are moments, an edge says how long after its source its target can be.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace perfkit {

// No sum of three of these overflows: a time, a lag and a duration are bounded before they are added.
inline constexpr std::int64_t latest_time = std::int64_t{1} << 61;
// The lag of an edge that is taken out of the graph.
inline constexpr std::int64_t no_edge = std::numeric_limits<std::int64_t>::min();

inline std::int64_t bounded(std::int64_t time) { return std::clamp(time, -latest_time, latest_time); }

// An order of the nodes in which every edge leads forward, and the edges by the place of their target in it.
struct Schedule {
    std::vector<std::int32_t> order;     // place -> node
    std::vector<std::int64_t> first;     // place -> its first edge; one more at the end
    std::vector<std::int32_t> position;  // edge as given -> edge by place
};

// `seen` holds the nodes by the time at which they were recorded. Where edges go round in a circle, the earliest node
// that is left goes on without waiting for those that are not there yet.
inline Schedule schedule(std::size_t nodes, const std::int32_t* target, const std::int32_t* source, std::size_t edges,
                         const std::int32_t* seen) {
    std::vector<std::int64_t> out(nodes + 1), waiting(nodes);
    for (std::size_t e = 0; e < edges; ++e) {
        ++out[static_cast<std::size_t>(source[e]) + 1];
        ++waiting[static_cast<std::size_t>(target[e])];
    }
    for (std::size_t n = 0; n < nodes; ++n) out[n + 1] += out[n];
    std::vector<std::int32_t> leads_to(edges);
    std::vector<std::int64_t> at(out.begin(), out.end() - 1);
    for (std::size_t e = 0; e < edges; ++e)
        leads_to[static_cast<std::size_t>(at[static_cast<std::size_t>(source[e])]++)] = target[e];

    Schedule result;
    result.order.reserve(nodes);
    result.first.assign(nodes + 1, 0);
    std::vector<std::int32_t> place(nodes, -1);
    const auto take = [&](std::int32_t node) {
        place[static_cast<std::size_t>(node)] = static_cast<std::int32_t>(result.order.size());
        result.order.push_back(node);
    };
    for (std::size_t s = 0; s < nodes; ++s)
        if (waiting[static_cast<std::size_t>(seen[s])] == 0) take(seen[s]);
    std::size_t done = 0, next = 0;
    while (done < nodes) {
        if (done == result.order.size()) {
            while (place[static_cast<std::size_t>(seen[next])] >= 0) ++next;
            take(seen[next]);
        }
        const auto node = static_cast<std::size_t>(result.order[done++]);
        for (std::int64_t e = out[node]; e < out[node + 1]; ++e) {
            const std::int32_t other = leads_to[static_cast<std::size_t>(e)];
            if (--waiting[static_cast<std::size_t>(other)] == 0 && place[static_cast<std::size_t>(other)] < 0) take(other);
        }
    }
    result.position.resize(edges);
    for (std::size_t e = 0; e < edges; ++e)
        ++result.first[static_cast<std::size_t>(place[static_cast<std::size_t>(target[e])]) + 1];
    for (std::size_t n = 0; n < nodes; ++n) result.first[n + 1] += result.first[n];
    at.assign(result.first.begin(), result.first.end() - 1);
    for (std::size_t e = 0; e < edges; ++e) {
        const auto there = static_cast<std::size_t>(place[static_cast<std::size_t>(target[e])]);
        result.position[e] = static_cast<std::int32_t>(at[there]++);
    }
    return result;
}

// Lags that differ between the lanes of a replay: each lane has tables of its own, [lanes][tables][size], to draw from.
struct Draws {
    const std::int64_t* values;
    std::size_t lanes, tables, size;  // size is a power of two

    // What a node draws is the same in every replay of its graph, so that two replays differ by what was changed.
    std::int64_t at(std::size_t lane, std::size_t table, std::size_t node) const {
        std::uint32_t x = static_cast<std::uint32_t>(node) * 0x9E3779B1u + static_cast<std::uint32_t>(lane) * 0x85EBCA77u;
        x = (x ^ (x >> 15)) * 0x2C1B3C6Du;
        x = (x ^ (x >> 12)) * 0x297A2D39u;
        x = (x ^ (x >> 15)) + static_cast<std::uint32_t>(table);
        return values[(lane * tables + table) * size + (x & (size - 1))];
    }
};

// The edges that lead to nodes, by the place of these in a schedule. A lag of a `table` is drawn from it, and is at most
// `lag`; an edge that is `behind` counts where its source is later than all that counted before it without.
struct Edges {
    const std::int64_t* first;
    const std::int32_t* source;
    const std::int64_t* lag;
    const std::int32_t* table;
    const std::uint8_t* behind;
};

// The time of each node in each lane, [nodes][lanes]: after everything that leads to it, not before `earliest`, and then
// `own` later. `order` has the nodes as a schedule has them. An edge that leads backward counts for nothing.
inline void replay(std::size_t nodes, const Edges& edges, const std::int32_t* order, const std::int64_t* earliest,
                   const std::int64_t* own, const Draws& draws, std::int64_t* time) {
    const std::size_t lanes = draws.lanes;
    std::vector<std::size_t> place(nodes, nodes);
    for (std::size_t n = 0; n < nodes; ++n) place[static_cast<std::size_t>(order[n])] = n;
    std::vector<std::int64_t> free(lanes);
    for (std::size_t n = 0; n < nodes; ++n) {
        const auto node = static_cast<std::size_t>(order[n]);
        std::int64_t* const ready = time + node * lanes;
        std::fill(ready, ready + lanes, bounded(earliest[node]));
        bool queues = false;
        for (std::int64_t e = edges.first[n]; e < edges.first[n + 1]; ++e) {
            const auto from = static_cast<std::size_t>(edges.source[e]);
            if (edges.lag[e] == no_edge || place[from] >= n) continue;
            const std::int64_t* const begun = time + from * lanes;
            const std::int64_t most = bounded(edges.lag[e]);
            if (edges.behind[e] != 0 && !queues) std::fill(free.begin(), free.end(), -latest_time);
            queues = queues || edges.behind[e] != 0;
            const auto wait = [&](const auto& lag) {
                if (edges.behind[e] == 0)
                    for (std::size_t k = 0; k < lanes; ++k) ready[k] = std::max(ready[k], begun[k] + lag(k));
                else
                    for (std::size_t k = 0; k < lanes; ++k)
                        free[k] = std::max(free[k], begun[k] > ready[k] ? begun[k] + lag(k) : -latest_time);
            };
            if (edges.table[e] < 0) {
                wait([&](std::size_t) { return most; });
            } else {
                const auto table = static_cast<std::size_t>(edges.table[e]);
                wait([&](std::size_t k) { return std::min(most, bounded(draws.at(k, table, node))); });
            }
        }
        const std::int64_t after = bounded(own[node]);
        if (queues)
            for (std::size_t k = 0; k < lanes; ++k) ready[k] = std::max(ready[k], free[k]);
        for (std::size_t k = 0; k < lanes; ++k) ready[k] = bounded(ready[k] + after);
    }
}

}  // namespace perfkit
