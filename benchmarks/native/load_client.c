/* Opens many WebSocket connections, checks everything that arrives on them, and times it.
 *
 * Every frame is parsed. An event must be whole, byte for byte as the publisher wrote it, belong to the
 * job of its connection, and be the next of its job; anything else ends the program with status 1 and a
 * line {"phase":"failed","kind":KIND,"reason":TEXT}. Kinds: mismatch (a wrong event), protocol (not
 * WebSocket, or not the dialect), refused (an error message or handshake), closed (by the server,
 * unasked), usage, limit (of this machine).
 *
 * Dialects: `json` (text frames, the hub's messages) and `nats` (the NATS protocol in binary frames, as
 * nats-server's WebSocket gateway speaks it: a frame may hold several messages, or a part of one).
 *
 * Orders are lines on standard input, answers are JSON lines on standard output:
 *   (none)            {"phase":"ready"}    every connection is subscribed
 *   mark              {"phase":"mark"}     deliveries so far; latencies since the last mark
 *   end N MILLISECONDS {"phase":"end"}     waits until all N events (over all jobs, spread as the publisher
 *                                          spreads them) have arrived at every client of their job
 *   end of input                           leaves
 * With --cycle SECONDS each connection instead goes open, subscribed, closed, over and over, and
 * {"phase":"cycles"} tells how many did.
 */
#define _GNU_SOURCE
#include "event.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what was asked for ------------------------------------------------------------------------- */

enum dialect { JSON, NATS };

static struct {
    enum dialect dialect;
    int port;
    const char *target; /* path and query of the handshake */
    const char *first;  /* the first message of a connection; @ stands for its job number */
    uint32_t clients, first_job, jobs, at_once, sources;
    double cycle; /* seconds; 0: hold the connections */
} asked = {.dialect = JSON, .target = "/ws", .clients = 1, .first_job = 1, .jobs = 1, .at_once = 64, .sources = 1};

/* ---- failing ------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3), noreturn)) static void fail(const char *kind, const char *format, ...) {
    char reason[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    printf("{\"phase\":\"failed\",\"kind\":\"%s\",\"reason\":\"", kind);
    for (const char *c = reason; *c; c++) {
        if (*c == '"' || *c == '\\') printf("\\%c", *c);
        else if ((unsigned char)*c >= ' ' && (unsigned char)*c < 127) putchar(*c);
        else printf("\\u%04x", (unsigned)(unsigned char)*c);
    }
    printf("\"}\n");
    fflush(stdout);
    exit(1);
}

/* ---- latencies: a histogram with 64 steps in each power of two, so within 1.6 % ------------------ */

#define STEPS 64
#define BUCKETS (STEPS * 60)
static uint64_t histogram[BUCKETS], timed, slowest;

static unsigned bucket_of(uint64_t ns) {
    if (ns < STEPS) return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 6u;
    unsigned bucket = (shift + 1) * STEPS + (unsigned)((ns >> shift) - STEPS);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_floor(unsigned bucket) {
    if (bucket < STEPS) return bucket;
    return (uint64_t)(bucket % STEPS + STEPS) << (bucket / STEPS - 1);
}

static void time_one(uint64_t from, uint64_t to) {
    uint64_t took = to > from ? to - from : 0;
    histogram[bucket_of(took)]++;
    timed++;
    if (took > slowest) slowest = took;
}

static double percentile_ms(double share) {
    uint64_t wanted = (uint64_t)((double)timed * share), seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += histogram[bucket];
        if (seen > wanted) return (double)bucket_floor(bucket) / 1e6;
    }
    return (double)slowest / 1e6;
}

static void print_latencies(void) {
    printf("\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f,\"timed\":%llu", percentile_ms(0.50),
           percentile_ms(0.99), (double)slowest / 1e6, (unsigned long long)timed);
    memset(histogram, 0, sizeof histogram);
    timed = slowest = 0;
}

/* ---- connections -------------------------------------------------------------------------------- */

enum state { CONNECTING, UPGRADING, SUBSCRIBING, READY, CLOSING };

struct bytes {
    char *start;
    size_t length, room;
};

struct connection {
    int fd;
    enum state state;
    uint32_t index, job;
    uint64_t received; /* events, and so the sequence of the last one */
    bool fragmented;   /* a data message is open */
    struct bytes unread;  /* a frame of which a part is here */
    struct bytes message; /* a message of which some frames, or bytes, are here */
    uint64_t opened_at;
};

static struct connection *connections;
static int poller;
static uint32_t opened, waiting, ready;
static uint64_t delivered, others, pings, cycles, cycle_deadline;

static void keep(struct bytes *kept, const char *bytes, size_t length) {
    if (kept->length + length > kept->room) {
        kept->room = kept->length + length;
        kept->start = realloc(kept->start, kept->room);
        if (!kept->start) fail("limit", "out of memory");
    }
    if (length) memcpy(kept->start + kept->length, bytes, length);
    kept->length += length;
}

static void forget(struct bytes *kept) {
    free(kept->start);
    *kept = (struct bytes){0};
}

static void open_connection(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("limit", "socket: %s", strerror(errno));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + c->index % asked.sources);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("limit", "bind: %s", strerror(errno));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        fail("refused", "connect to port %d: %s", asked.port, strerror(errno));
    c->state = CONNECTING;
    c->received = 0;
    c->fragmented = false;
    c->opened_at = monotonic_ns();
    struct epoll_event wanted = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &wanted) < 0) fail("limit", "epoll: %s", strerror(errno));
    waiting++;
}

static void write_all(struct connection *c, const char *bytes, size_t length) {
    ssize_t written = send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (written != (ssize_t)length) fail("closed", "client %u could not write: %s", c->index, strerror(errno));
}

/* Client frames are masked (RFC 6455, 5.3); the mask need not be secret towards our own server. */
static void write_frame(struct connection *c, unsigned opcode, const char *payload, size_t length) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    char frame[8192];
    size_t head = 2;
    if (length + 8 > sizeof frame) fail("usage", "a message to the server is too long");
    frame[0] = (char)(0x80 | opcode);
    if (length < 126) {
        frame[1] = (char)(0x80 | length);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(length >> 8);
        frame[3] = (char)length;
        head = 4;
    }
    memcpy(frame + head, mask, 4);
    for (size_t i = 0; i < length; i++) frame[head + 4 + i] = (char)(payload[i] ^ mask[i % 4]);
    write_all(c, frame, head + 4 + length);
}

static void write_first_message(struct connection *c) {
    char message[8000];
    size_t length = 0;
    for (const char *at = asked.first; *at && length + 24 < sizeof message; at++) {
        if (*at == '@') length += (size_t)sprintf(message + length, "%u", c->job);
        else message[length++] = *at;
    }
    write_frame(c, asked.dialect == NATS ? 2 : 1, message, length);
}

/* ---- the handshake ------------------------------------------------------------------------------ */

/* The key and its answer are RFC 6455's own example (1.3); the other headers are what a browser sends. */
static void write_handshake(struct connection *c) {
    char request[8192];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\n"
                          "Host: 127.0.0.1:%d\r\n"
                          "Connection: Upgrade\r\n"
                          "Pragma: no-cache\r\n"
                          "Cache-Control: no-cache\r\n"
                          "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                          "Chrome/140.0.0.0 Safari/537.36\r\n"
                          "Upgrade: websocket\r\n"
                          "Origin: http://127.0.0.1:%d\r\n"
                          "Sec-WebSocket-Version: 13\r\n"
                          "Accept-Encoding: gzip, deflate, br, zstd\r\n"
                          "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                          "\r\n",
                          asked.target, asked.port, asked.port);
    if (length >= (int)sizeof request) fail("usage", "the target is too long");
    write_all(c, request, (size_t)length);
}

/* Returns the bytes used: 0 until the whole head of the answer is here. */
static size_t read_handshake(struct connection *c, const char *bytes, size_t length) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t head = (size_t)(end - bytes) + 4;
    if (head < 12 || memcmp(bytes, "HTTP/1.1 101", 12) != 0)
        fail("refused", "client %u was answered: %.*s", c->index, (int)(length < 400 ? length : 400), bytes);
    if (!memmem(bytes, head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28))
        fail("protocol", "client %u got no Sec-WebSocket-Accept for its key", c->index);
    c->state = SUBSCRIBING;
    write_first_message(c);
    return head;
}

/* ---- events ------------------------------------------------------------------------------------- */

static const char *read_number(const char *at, const char *end, uint64_t *number) {
    const char *from = at;
    uint64_t value = 0;
    while (at < end && *at >= '0' && *at <= '9') value = value * 10 + (uint64_t)(*at++ - '0');
    *number = value;
    return at > from ? at : NULL;
}

static const char *read_literal(const char *at, const char *end, const char *literal, size_t length) {
    if (!at || (size_t)(end - at) < length || memcmp(at, literal, length) != 0) return NULL;
    return at + length;
}

#define LITERAL(at, end, text) read_literal(at, end, text, sizeof(text) - 1)

static const char *read_field(const char *at, const char *end, const char *name, size_t length, uint64_t *number) {
    at = read_literal(at, end, name, length);
    return at ? read_number(at, end, number) : NULL;
}

#define FIELD(at, end, name, number) read_field(at, end, name, sizeof(name) - 1, number)

/* Checks one payload, and returns what follows it in the message. */
static const char *check_event(struct connection *c, const char *payload, const char *end, uint64_t now) {
    uint64_t sequence = 0, sent_at = 0, job = 0;
    const char *at = FIELD(payload, end, "{\"s\":", &sequence);
    at = FIELD(at, end, ",\"t\":", &sent_at);
    at = FIELD(at, end, ",\"j\":", &job);
    at = LITERAL(at, end, EVENT_TAIL);
    if (!at) {
        int shown = (int)(end - payload < 300 ? end - payload : 300);
        fail("mismatch", "client %u got a payload that was not published: %.*s", c->index, shown, payload);
    }
    if (job != c->job) fail("mismatch", "client %u of job %u got an event of job %llu", c->index, c->job,
                            (unsigned long long)job);
    if (sequence != c->received + 1)
        fail("mismatch", "client %u of job %u got event %llu after event %llu", c->index, c->job,
             (unsigned long long)sequence, (unsigned long long)c->received);
    c->received = sequence;
    delivered++;
    time_one(sent_at, now);
    return at;
}

static void became_ready(struct connection *c) {
    if (c->state != SUBSCRIBING) return;
    waiting--;
    if (asked.cycle > 0) {
        c->state = CLOSING;
        write_frame(c, 8, "\x03\xe8", 2);
    } else {
        c->state = READY;
        ready++;
    }
}

/* ---- the hub's dialect: one JSON object a message ------------------------------------------------ */

static void read_json_message(struct connection *c, const char *message, size_t length, uint64_t now) {
    const char *end = message + length;
    const char *type = LITERAL(message, end, "{\"type\":\"");
    if (!type) fail("protocol", "client %u got a message without a type: %.*s", c->index,
                    (int)(length < 300 ? length : 300), message);
    const char *at = LITERAL(type, end, "job.progress\",\"jobId\":");
    if (at) {
        uint64_t job = 0;
        at = read_number(at, end, &job);
        at = LITERAL(at, end, ",\"payload\":");
        if (!at || job != c->job)
            fail("mismatch", "client %u of job %u got: %.*s", c->index, c->job, (int)(length < 300 ? length : 300),
                 message);
        at = check_event(c, at, end, now);
        if (at == end || end[-1] != '}' || (*at != ',' && at + 1 != end))
            fail("mismatch", "client %u got a message that does not end well: %.*s", c->index,
                 (int)(length < 400 ? length : 400), message);
        return;
    }
    if (LITERAL(type, end, "subscribed\"")) became_ready(c);
    else if (LITERAL(type, end, "error\""))
        fail("refused", "client %u was told: %.*s", c->index, (int)(length < 400 ? length : 400), message);
    else others++;
}

/* ---- nats-server's dialect: the NATS protocol as a stream of bytes -------------------------------- */

/* Reads one operation; returns the bytes used, 0 when it is not all here. */
static size_t read_nats_operation(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    const char *line_end = memchr(bytes, '\n', length < 4096 ? length : 4096);
    if (!line_end) return 0;
    size_t line = (size_t)(line_end - bytes) + 1;
    const char *end = bytes + line, *at = LITERAL(bytes, end, "MSG tenant.bench.job.");
    if (at) {
        uint64_t job = 0, size = 0;
        at = read_number(at, end, &job);
        at = LITERAL(at, end, ".progress 1 ");
        at = at ? read_number(at, end, &size) : NULL;
        if (!at || job != c->job) fail("mismatch", "client %u of job %u got: %.*s", c->index, c->job, (int)line, bytes);
        if (length < line + size + 2) return 0;
        const char *payload_end = bytes + line + size;
        if (check_event(c, bytes + line, payload_end, now) != payload_end || memcmp(payload_end, "\r\n", 2) != 0)
            fail("mismatch", "client %u got a message that does not end where it says", c->index);
        return line + size + 2;
    }
    if (LITERAL(bytes, end, "PONG")) became_ready(c);
    else if (LITERAL(bytes, end, "PING")) write_frame(c, 2, "PONG\r\n", 6);
    else if (LITERAL(bytes, end, "-ERR")) fail("refused", "client %u was told: %.*s", c->index, (int)line, bytes);
    else if (!LITERAL(bytes, end, "INFO ") && !LITERAL(bytes, end, "+OK"))
        fail("protocol", "client %u got: %.*s", c->index, (int)(line < 300 ? line : 300), bytes);
    return line;
}

static void read_nats_bytes(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    bool joined = c->message.length > 0;
    if (joined) {
        keep(&c->message, bytes, length);
        bytes = c->message.start;
        length = c->message.length;
    }
    size_t used = 0, more;
    while (used < length && (more = read_nats_operation(c, bytes + used, length - used, now)) > 0) used += more;
    struct bytes rest = {0};
    if (used < length) keep(&rest, bytes + used, length - used);
    if (joined) forget(&c->message);
    c->message = rest;
}

/* ---- frames ------------------------------------------------------------------------------------- */

static void read_data(struct connection *c, unsigned opcode, bool final, const char *payload, size_t length,
                      uint64_t now) {
    if (c->state == CLOSING) return;
    if ((opcode == 0) != c->fragmented) fail("protocol", "client %u got a fragment out of place", c->index);
    unsigned wanted = asked.dialect == NATS ? 2 : 1;
    if (opcode != 0 && opcode != wanted) fail("protocol", "client %u got a frame of opcode %u", c->index, opcode);
    c->fragmented = !final;
    if (asked.dialect == NATS) {
        read_nats_bytes(c, payload, length, now);
    } else if (opcode != 0 && final) {
        read_json_message(c, payload, length, now);
    } else {
        keep(&c->message, payload, length);
        if (!final) return;
        read_json_message(c, c->message.start, c->message.length, now);
        forget(&c->message);
    }
}

static void read_close(struct connection *c, const char *payload, size_t length) {
    if (c->state == CLOSING) return;
    unsigned code = length >= 2 ? (unsigned)((unsigned char)payload[0] << 8 | (unsigned char)payload[1]) : 1005;
    fail("closed", "client %u was closed with %u %.*s after %llu events", c->index, code,
         (int)(length > 2 ? length - 2 : 0), payload + 2, (unsigned long long)c->received);
}

/* Returns the bytes used, 0 when the frame is not all here. */
static size_t read_frame(struct connection *c, const char *bytes, size_t available, uint64_t now) {
    const unsigned char *head = (const unsigned char *)bytes;
    if (available < 2) return 0;
    unsigned opcode = head[0] & 0x0f;
    if (head[0] & 0x70) fail("protocol", "client %u got a frame with reserved bits", c->index);
    if (head[1] & 0x80) fail("protocol", "client %u got a masked frame", c->index);
    uint64_t length = head[1] & 0x7f;
    size_t header = length == 126 ? 4 : length == 127 ? 10 : 2;
    if (available < header) return 0;
    if (header > 2) {
        length = 0;
        for (size_t i = 2; i < header; i++) length = length << 8 | head[i];
    }
    if (length > (1u << 20)) fail("protocol", "client %u got a frame of %llu bytes", c->index,
                                  (unsigned long long)length);
    if (available < header + length) return 0;
    const char *payload = bytes + header;
    if (opcode <= 2) read_data(c, opcode, head[0] & 0x80, payload, length, now);
    else if (opcode == 8) read_close(c, payload, length);
    else if (opcode == 9) {
        pings++;
        if (c->state != CLOSING) write_frame(c, 10, payload, length);
    } else if (opcode != 10) fail("protocol", "client %u got a frame of opcode %u", c->index, opcode);
    return header + length;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static void closed_by_server(struct connection *c, const char *how) {
    if (c->state != CLOSING)
        fail("closed", "client %u lost its connection after %llu events: %s", c->index,
             (unsigned long long)c->received, how);
    uint64_t now = monotonic_ns();
    close(c->fd);
    forget(&c->unread);
    forget(&c->message);
    cycles++;
    time_one(c->opened_at, now);
    if (now < cycle_deadline) open_connection(c);
    else opened--;
}

static size_t read_all(struct connection *c, const char *bytes, size_t length, uint64_t now) {
    size_t used = 0, more;
    if (c->state == UPGRADING && (used = read_handshake(c, bytes, length)) == 0) return 0;
    while (used < length && (more = read_frame(c, bytes + used, length - used, now)) > 0) used += more;
    return used;
}

static void readable(struct connection *c) {
    static char buffer[(1 << 20) + (1 << 18)];
    size_t kept = c->unread.length;
    if (kept) memcpy(buffer, c->unread.start, kept);
    ssize_t got = recv(c->fd, buffer + kept, 1 << 17, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        closed_by_server(c, got < 0 ? strerror(errno) : "end of stream");
        return;
    }
    size_t length = kept + (size_t)got, used = read_all(c, buffer, length, monotonic_ns());
    if (used == length) {
        if (kept) forget(&c->unread);
    } else {
        c->unread.length = 0;
        keep(&c->unread, buffer + used, length - used);
    }
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) fail("refused", "connect to port %d: %s", asked.port, strerror(error));
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &wanted);
    c->state = UPGRADING;
    write_handshake(c);
}

/* ---- orders ------------------------------------------------------------------------------------- */

static bool ending;
static uint64_t published, end_deadline;

static uint64_t events_of(uint32_t job) {
    return published / asked.jobs + (job - asked.first_job < published % asked.jobs);
}

static uint64_t missing(uint32_t *clients_missing) {
    uint64_t count = 0;
    *clients_missing = 0;
    for (uint32_t i = 0; i < asked.clients; i++) {
        uint64_t expected = events_of(connections[i].job);
        if (connections[i].received > expected)
            fail("mismatch", "client %u of job %u got %llu events of %llu", i, connections[i].job,
                 (unsigned long long)connections[i].received, (unsigned long long)expected);
        count += expected - connections[i].received;
        *clients_missing += expected > connections[i].received;
    }
    return count;
}

static void print_counts(const char *phase) {
    printf("{\"phase\":\"%s\",\"delivered\":%llu,\"ns\":%llu,\"cpu\":%.6f,\"others\":%llu,\"pings\":%llu,", phase,
           (unsigned long long)delivered, (unsigned long long)monotonic_ns(), cpu_seconds(),
           (unsigned long long)others, (unsigned long long)pings);
}

static void obey(char *order) {
    unsigned long long total, milliseconds;
    if (strcmp(order, "mark") == 0) {
        print_counts("mark");
        print_latencies();
        printf("}\n");
    } else if (sscanf(order, "end %llu %llu", &total, &milliseconds) == 2) {
        ending = true;
        published = total;
        end_deadline = monotonic_ns() + milliseconds * 1000000u;
    } else {
        fail("usage", "no such order: %s", order);
    }
    fflush(stdout);
}

static void read_orders(void) {
    static char line[256];
    static size_t filled;
    ssize_t got = read(STDIN_FILENO, line + filled, sizeof line - 1 - filled);
    if (got <= 0) exit(0);
    filled += (size_t)got;
    char *end;
    while ((end = memchr(line, '\n', filled))) {
        *end = 0;
        obey(line);
        size_t used = (size_t)(end - line) + 1;
        memmove(line, end + 1, filled - used);
        filled -= used;
    }
}

/* Having everything is not the end: for a tenth of a second nothing more may come. */
static void end_if_over(void) {
    static uint64_t complete_since;
    static uint64_t last_looked;
    uint64_t now = monotonic_ns();
    if (now < end_deadline && now - last_looked < 2000000u) return;
    last_looked = now;
    uint32_t clients_missing;
    uint64_t count = missing(&clients_missing);
    if (count) complete_since = 0;
    else if (!complete_since) complete_since = now;
    bool complete = complete_since && now - complete_since > 100000000u;
    if (!complete && (now < end_deadline || !count)) return;
    print_counts("end");
    printf("\"missing\":%llu,\"clients_missing\":%u}\n", (unsigned long long)count, clients_missing);
    fflush(stdout);
    ending = false;
}

/* ---- the loop ----------------------------------------------------------------------------------- */

static void open_more(void) {
    while (opened < asked.clients && waiting < asked.at_once) {
        struct connection *c = &connections[opened];
        c->index = opened;
        c->job = asked.first_job + opened % asked.jobs;
        opened++;
        open_connection(c);
    }
}

static void poll_once(int timeout_ms) {
    static struct epoll_event events[1024];
    int count = epoll_wait(poller, events, 1024, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c) read_orders();
        else if (c->state == CONNECTING) connected(c);
        else readable(c);
    }
}

static void print_ready(uint64_t start) {
    printf("{\"phase\":\"ready\",\"clients\":%u,\"seconds\":%.6f}\n", ready, (double)(monotonic_ns() - start) / 1e9);
    fflush(stdout);
}

static void hold(void) {
    uint64_t start = monotonic_ns();
    bool told = false;
    for (;;) {
        open_more();
        poll_once(ending ? 2 : -1);
        if (!told && ready == asked.clients) {
            told = true;
            print_ready(start);
        }
        if (ending) end_if_over();
    }
}

static void cycle(void) {
    uint64_t start = monotonic_ns();
    cycle_deadline = start + (uint64_t)(asked.cycle * 1e9);
    asked.at_once = asked.clients;
    open_more();
    while (opened > 0) {
        poll_once(1000);
        if (monotonic_ns() > cycle_deadline + 10000000000u)
            fail("closed", "%u connections were not closed within 10 s", opened);
    }
    double seconds = (double)(monotonic_ns() - start) / 1e9;
    printf("{\"phase\":\"cycles\",\"cycles\":%llu,\"seconds\":%.6f,\"cpu\":%.6f,", (unsigned long long)cycles, seconds,
           cpu_seconds());
    print_latencies();
    printf("}\n");
}

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < asked.clients + 16u)
        fail("limit", "%u connections need a higher file limit than %llu (ulimit -Hn)", asked.clients,
             (unsigned long long)limit.rlim_cur);
}

static void read_arguments(int count, char **arguments) {
    static const struct option options[] = {
        {"dialect", 1, 0, 'd'},   {"port", 1, 0, 'p'},  {"target", 1, 0, 't'},  {"first", 1, 0, 'f'},
        {"clients", 1, 0, 'c'},   {"jobs", 1, 0, 'j'},  {"first-job", 1, 0, 'i'}, {"at-once", 1, 0, 'a'},
        {"sources", 1, 0, 's'},   {"cycle", 1, 0, 'y'}, {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        switch (option) {
        case 'd': asked.dialect = strcmp(optarg, "nats") == 0 ? NATS : JSON; break;
        case 'p': asked.port = atoi(optarg); break;
        case 't': asked.target = optarg; break;
        case 'f': asked.first = optarg; break;
        case 'c': asked.clients = (uint32_t)atol(optarg); break;
        case 'j': asked.jobs = (uint32_t)atol(optarg); break;
        case 'i': asked.first_job = (uint32_t)atol(optarg); break;
        case 'a': asked.at_once = (uint32_t)atol(optarg); break;
        case 's': asked.sources = (uint32_t)atol(optarg); break;
        case 'y': asked.cycle = atof(optarg); break;
        default: fail("usage", "see the head of load_client.c");
        }
    }
    if (!asked.port || !asked.first || !asked.clients || !asked.jobs || !asked.at_once || !asked.sources)
        fail("usage", "--port and --first are needed, and no count may be 0");
}

int main(int count, char **arguments) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    read_arguments(count, arguments);
    raise_file_limit();
    connections = calloc(asked.clients, sizeof *connections);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &wanted);
    if (asked.cycle > 0) cycle();
    else hold();
    return 0;
}
