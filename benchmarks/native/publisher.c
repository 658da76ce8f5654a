/* Publishes events to nats-server at an even pace, over the NATS protocol itself.
 *
 *   publisher PORT FIRST_JOB JOBS RATE TOTAL
 *
 * Event k (from 0) is due k/RATE seconds after the start and goes to job FIRST_JOB + k % JOBS, so job
 * number i of them gets TOTAL/JOBS events, and one more when i < TOTAL % JOBS. Prints one JSON line when
 * it starts and one when nats-server has taken everything.
 */
#define _GNU_SOURCE
#include "event.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int server;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...) {
    char reason[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    printf("{\"phase\":\"failed\",\"kind\":\"publisher\",\"reason\":\"%s\"}\n", reason);
    fflush(stdout);
    exit(1);
}

static void write_all(const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(server, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) fail("nats-server closed the publisher's connection");
        bytes += written;
        length -= (size_t)written;
    }
}

/* Reads what nats-server says: answers its PINGs, fails on -ERR. Returns true when there was a PONG. */
static int listen_to_server(int flags) {
    static char heard[65536];
    ssize_t got = recv(server, heard, sizeof heard - 1, flags);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) fail("nats-server closed the publisher's connection");
    heard[got] = 0;
    if (strstr(heard, "-ERR")) fail("nats-server refused the publisher");
    if (strstr(heard, "PING\r\n")) write_all("PONG\r\n", 6);
    return strstr(heard, "PONG\r\n") != NULL;
}

static void wait_for_pong(void) {
    write_all("PING\r\n", 6);
    while (!listen_to_server(0)) {
    }
}

static void connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address) < 0) fail("no nats-server at port %d", port);
    int on = 1;
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"benchmark publisher\"}\r\n";
    write_all(hello, sizeof hello - 1);
    wait_for_pong();
}

static void sleep_until(uint64_t when) {
    struct timespec at = {.tv_sec = (time_t)(when / 1000000000u), .tv_nsec = (long)(when % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

static size_t write_publish(char *into, size_t room, uint32_t job, uint64_t sequence, uint64_t now) {
    char payload[512];
    int length = event_write(payload, sizeof payload, sequence, now, job);
    int written = snprintf(into, room, "PUB tenant.bench.job.%u.progress %d\r\n%s\r\n", job, length, payload);
    return (size_t)written;
}

/* Publishes all that is due by now; returns how many have been published in total. */
static uint64_t publish_due(uint64_t done, uint64_t due, uint32_t first_job, uint32_t jobs) {
    static char batch[65536];
    size_t filled = 0;
    uint64_t now = monotonic_ns();
    for (; done < due && filled + 1024 < sizeof batch; done++) {
        uint32_t job = first_job + (uint32_t)(done % jobs);
        filled += write_publish(batch + filled, sizeof batch - filled, job, done / jobs + 1, now);
    }
    write_all(batch, filled);
    return done;
}

int main(int count, char **arguments) {
    if (count != 6) fail("usage: publisher PORT FIRST_JOB JOBS RATE TOTAL");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); /* 50 us by default: a fifth of the distance at 4,000 a second */
    signal(SIGPIPE, SIG_IGN);
    uint32_t first_job = (uint32_t)atol(arguments[2]), jobs = (uint32_t)atol(arguments[3]);
    double rate = atof(arguments[4]);
    uint64_t total = strtoull(arguments[5], NULL, 10), done = 0, latest = 0;
    if (jobs == 0 || rate <= 0) fail("JOBS and RATE must be above zero");
    connect_to(atoi(arguments[1]));
    printf("{\"phase\":\"started\"}\n");
    fflush(stdout);

    uint64_t start = monotonic_ns();
    while (done < total) {
        uint64_t due_at = start + (uint64_t)((double)done * 1e9 / rate);
        sleep_until(due_at);
        uint64_t now = monotonic_ns();
        if (now - due_at > latest) latest = now - due_at;
        uint64_t due = (uint64_t)((double)(now - start) * rate / 1e9) + 1;
        done = publish_due(done, due < total ? due : total, first_job, jobs);
        listen_to_server(MSG_DONTWAIT);
    }
    wait_for_pong();
    printf("{\"phase\":\"published\",\"published\":%llu,\"seconds\":%.6f,\"latest_ms\":%.3f,\"cpu\":%.6f}\n",
           (unsigned long long)done, (double)(monotonic_ns() - start) / 1e9, (double)latest / 1e6, cpu_seconds());
    return 0;
}
