// The stream: bytes in pieces of any size, the top-level values of the file, its events one by one, and going on after
// faults.
#pragma once

#include "event.hpp"
#include "match.hpp"
#include "value.hpp"
#include "waiting.hpp"

namespace perfkit {

class Stream {
public:
    explicit Stream(const std::vector<ColumnSpec>& specs) : events_(specs) {}

    // The bytes are read where they are; only what cannot be read yet is copied.
    void feed(const Byte* data, std::size_t size) {
        bytes_seen += size;
        while (size != 0) {
            if (waiting_.size() == 0 && size > copied_at_once) {
                const std::size_t used = run(data, size - padding);  // the last bytes serve as padding
                waiting_.append(data + used, size - used);
                retry_at_ = 0;
                return;
            }
            // A huge event in small pieces stays linear: it is read again only when there is twice as much of it.
            const std::size_t wanted = std::max(retry_at_, waiting_.size() + copied_at_once) - waiting_.size();
            const std::size_t taken = std::min(size, wanted);
            waiting_.append(data, taken);
            data += taken;
            size -= taken;
            if (waiting_.size() < retry_at_) continue;
            const std::size_t left = waiting_.size() - run(waiting_.begin(), waiting_.size());
            if (left <= taken && size + left > copied_at_once) {
                data -= left;
                size += left;
                waiting_.drop_front(waiting_.size());
            } else {
                waiting_.drop_front(waiting_.size() - left);
                retry_at_ = std::min(2 * left, event_limit);
            }
        }
    }

    void finish() {
        if (finished_) return;
        finished_ = true;
        run(waiting_.begin(), waiting_.size());
        if (state_ == State::event) recorder().defects.note(Defect::truncated_event, offset_);
        if (state_ != State::between) recorder().defects.note(Defect::truncated, bytes_seen);
        waiting_ = Waiting();
    }

    bool finished() const { return finished_; }
    Recorder& recorder() { return events_.recorder; }

    std::map<std::string, std::string> header;
    std::uint64_t bytes_seen = 0;
    std::string_view top = "";
    bool events_seen = false;

private:
    // What is read next: something between the top-level values, something of the top-level object, or of the events.
    enum class State {
        between,
        object,
        key,
        colon,
        value,
        value_rest,
        seek_events,
        array,
        stranger,
        event,
        seek_event
    };

    static constexpr std::size_t copied_at_once = 4 * padding, event_limit = std::size_t{64} << 20;
    static constexpr std::size_t header_key_limit = std::size_t{1} << 20, header_value_limit = std::size_t{4} << 20;

    // Reads what can be read of these bytes; returns how many were used.
    std::size_t run(const Byte* data, std::size_t size) {
        window_ = {data, data + size, offset_};
        p_ = data;
        while (step()) {
        }
        const auto used = static_cast<std::size_t>(p_ - data);
        offset_ += used;
        return used;
    }

    // Reads one thing from `p_` on; false if the window ends first.
    bool step() {
        switch (state_) {
            case State::between: return step_between();
            case State::object: return step_object();
            case State::key: return step_key();
            case State::colon: return step_colon();
            case State::value: return step_value();
            case State::value_rest: return step_value_rest();
            case State::seek_events: return seek_events();
            case State::array: return step_array();
            case State::stranger: return step_stranger();
            case State::event: return step_event();
            case State::seek_event: return seek_event();
        }
        return false;
    }

    void note(Defect kind, const Byte* p) { recorder().defects.note(kind, window_.offset_of(p)); }

    bool skip_space() {
        p_ = std::min(perfkit::skip_space(p_, window_.end), window_.end);
        return p_ < window_.end;
    }

    // ------------------------------------------------------------------------------------------ between the values

    bool step_between() {
        if (!skip_byte_order_mark() || !skip_space()) return false;
        if (*p_ != '{' && *p_ != '[') {
            if (!trailing_data_seen_) note(Defect::trailing_data, p_);
            trailing_data_seen_ = true;
            while (p_ < window_.end && *p_ != '{' && *p_ != '[') ++p_;
            return p_ < window_.end;
        }
        in_list_ = *p_ == '[';
        if (top.empty()) top = in_list_ ? "list" : "object";
        begin_members(in_list_ ? State::array : State::object);
        return true;
    }

    // False if it is not known yet whether there is one.
    bool skip_byte_order_mark() {
        static constexpr Byte mark[] = {0xef, 0xbb, 0xbf};
        if (p_ != window_.begin || window_.offset != 0) return true;
        const auto size = static_cast<std::size_t>(window_.end - p_);
        if (std::memcmp(p_, mark, std::min(size, sizeof mark)) != 0) return true;
        if (size < sizeof mark) return finished_;
        p_ += sizeof mark;
        return true;
    }

    // ------------------------------------------------------- commas, of the events and of the top-level object alike

    void begin_members(State state) {
        ++p_;
        state_ = state;
        events_seen |= state == State::array;
        comma_due_ = comma_open_ = false;
    }

    void take_comma() {
        if (comma_due_) {
            comma_due_ = false;
            comma_open_ = true;
            comma_offset_ = window_.offset_of(p_);
        } else {
            note(Defect::extra_comma, p_);
        }
        ++p_;
    }

    void begin_member() {
        if (comma_due_) note(Defect::missing_comma, p_);
        comma_due_ = true;
        comma_open_ = false;
    }

    void end_members(State state) {
        if (comma_open_) recorder().defects.note(Defect::extra_comma, comma_offset_);
        ++p_;
        state_ = state;
        comma_due_ = true;
        comma_open_ = false;
    }

    // ------------------------------------------------------------------------------------------ the top-level object

    bool step_object() {
        if (!skip_space()) return false;
        switch (*p_) {
            case '}': end_members(State::between); break;
            case ',': take_comma(); break;
            case '"':
                begin_member();
                begin_value(State::key, header_key_limit);
                break;
            default: break_object(p_);
        }
        return true;
    }

    void break_object(const Byte* p) {
        note(Defect::broken_header, p);
        p_ = p;
        state_ = State::seek_events;
    }

    void begin_value(State state, std::size_t limit) {
        state_ = state;
        walk_ = ValueWalk(*p_);
        walk_offset_ = window_.offset_of(p_);
        capture_.clear();
        capture_size_ = 0;
        capture_limit_ = limit;
    }

    Step walk() {
        const Byte* const first = p_;
        Step step;
        p_ = walk_.go(p_, window_, recorder().defects, step);
        const auto size = static_cast<std::size_t>(p_ - first);
        capture_size_ += size;
        if (capture_size_ <= capture_limit_) {
            capture_.append(reinterpret_cast<const char*>(first), size);
        } else {
            capture_ = {};
        }
        return step;
    }

    bool is_captured() const { return capture_size_ <= capture_limit_; }

    bool step_key() {
        if (walk() != Step::done) return false;
        key_kept_ = is_captured();
        if (key_kept_) {
            key_.resize(capture_.size());
            const Byte* const text = reinterpret_cast<const Byte*>(capture_.data());
            Byte* const key = reinterpret_cast<Byte*>(key_.data());
            key_.resize(static_cast<std::size_t>(unescape(text + 1, text + capture_.size() - 1, key) - key));
        } else {
            recorder().defects.note(Defect::oversized_value, walk_offset_);
        }
        state_ = State::colon;
        return true;
    }

    bool step_colon() {
        if (!skip_space()) return false;
        if (*p_ == ':') {
            ++p_;
            state_ = State::value;
        } else {
            break_object(p_);
        }
        return true;
    }

    bool step_value() {
        if (!skip_space()) return false;
        if (*p_ == '[' && key_kept_ && key_ == "traceEvents") {
            begin_members(State::array);
        } else {
            begin_value(State::value_rest, header_value_limit);
        }
        return true;
    }

    bool step_value_rest() {
        const Byte* const first = p_;
        const Step step = walk();
        const auto size = static_cast<std::size_t>(p_ - first);
        const void* const zero = walk_.is_token() && size != 0 ? std::memchr(first, 0, size) : nullptr;
        if (zero != nullptr) {
            break_object(static_cast<const Byte*>(zero));
            return true;
        }
        if (step == Step::broken) break_object(p_);
        if (step == Step::done) {
            keep_value();
            state_ = State::object;
        }
        return step != Step::more;
    }

    void keep_value() {
        const Byte* const text = reinterpret_cast<const Byte*>(capture_.data());
        if (!is_captured()) {
            recorder().defects.note(Defect::oversized_value, walk_offset_);
        } else if (walk_.is_token() && !is_literal(text, text + capture_.size())) {
            recorder().defects.note(Defect::bare_value, walk_offset_);
        } else if (key_kept_) {
            header[key_] = capture_;
        }
    }

    // --------------------------------------------------------------------------------------------------- the events

    bool step_array() {
        if (!skip_space()) return false;
        switch (*p_) {
            case '{':
                begin_member();
                state_ = State::event;
                break;
            case ',': take_comma(); break;
            case ']': end_members(in_list_ ? State::between : State::object); break;
            case '}':
                note(Defect::event_not_object, p_);
                ++p_;
                break;
            default:
                note(Defect::event_not_object, p_);
                begin_member();
                begin_value(State::stranger, 0);
        }
        return true;
    }

    // An element of the events that is no event.
    bool step_stranger() {
        const Step step = walk();
        if (step == Step::broken) note(Defect::broken_event, p_);
        if (step == Step::broken) state_ = State::seek_event;
        if (step == Step::done) state_ = State::array;
        return step != Step::more;
    }

    bool step_event() {
        const Byte* const first = p_;
        const bool cut = static_cast<std::size_t>(window_.end - first) >= event_limit;
        const Step step =
            cut ? events_.read(p_, {window_.begin, first + event_limit, window_.offset}) : events_.read(p_, window_);
        if (step == Step::done) [[likely]] {
            state_ = State::array;
        } else if (step == Step::broken) {
            drop_event(Defect::broken_event, first, p_);
        } else if (cut) {
            drop_event(Defect::oversized_event, first, first + event_limit);
        } else {
            return false;
        }
        return true;
    }

    // Drops the event, and looks for the next from its second byte on, but goes over no byte more than twice.
    void drop_event(Defect kind, const Byte* first, const Byte* fault) {
        note(kind, first);
        const std::uint64_t offset = window_.offset_of(first);
        const bool nested = offset < failed_to_;
        failed_to_ = std::max(failed_to_, window_.offset_of(fault));
        p_ = window_.begin + ((nested ? std::max(failed_to_, offset + 1) : offset + 1) - window_.offset);
        state_ = State::seek_event;
    }

    // ------------------------------------------------------------------------------------------- going on after faults

    // Looks from `p_` on for a byte `first` where `match` says yes, and moves `p_` there.
    bool seek(char first, Match (*match)(const Byte*, const Byte*)) {
        while (p_ < window_.end) {
            const void* const found = std::memchr(p_, first, static_cast<std::size_t>(window_.end - p_));
            if (found == nullptr) break;
            p_ = static_cast<const Byte*>(found);
            const Match answer = match(p_, window_.end);
            if (answer == Match::yes) return true;
            if (answer == Match::unknown && static_cast<std::size_t>(window_.end - p_) < event_limit) return false;
            ++p_;
        }
        p_ = window_.end;
        return false;
    }

    bool seek_events() {
        if (!seek('"', match_events)) return false;
        while (*p_ != '[') ++p_;
        begin_members(State::array);
        return true;
    }

    bool seek_event() {
        if (!seek('{', match_event)) return false;
        state_ = State::event;
        comma_due_ = true;
        comma_open_ = false;
        return true;
    }

    EventReader events_;
    State state_ = State::between;
    bool in_list_ = false, trailing_data_seen_ = false, finished_ = false;
    bool comma_due_ = false, comma_open_ = false;  // one is expected; one was read and nothing after it yet
    std::uint64_t comma_offset_ = 0;
    std::uint64_t failed_to_ = 0;  // the furthest that a dropped event was read

    Window window_;
    const Byte* p_ = nullptr;
    std::uint64_t offset_ = 0;  // of the first byte not used
    Waiting waiting_;
    std::size_t retry_at_ = 0;

    ValueWalk walk_;
    std::uint64_t walk_offset_ = 0;
    std::string capture_, key_;
    std::size_t capture_size_ = 0, capture_limit_ = 0;
    bool key_kept_ = false;
};

}  // namespace perfkit
