/* One benchmark event: what the publisher writes and the load client checks byte for byte.
 *
 * The sequence (from 1, per job), the publisher's clock (CLOCK_MONOTONIC, ns) and the job number come
 * first; the rest is the ordinary payload of a progress event, and always the same.
 */
#ifndef EVENT_H
#define EVENT_H

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define EVENT_TAIL                                                                                         \
    ",\"nodeId\":1,\"nodeName\":\"DB Input\",\"status\":\"running\",\"rowCount\":5000,"                    \
    "\"message\":\"Processing rows of the table that the benchmark reads from top to bottom\"}"

static inline uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline double cpu_seconds(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static inline int event_write(char *into, size_t room, uint64_t sequence, uint64_t at, uint32_t job) {
    return snprintf(into, room, "{\"s\":%llu,\"t\":%llu,\"j\":%u" EVENT_TAIL, (unsigned long long)sequence,
                    (unsigned long long)at, job);
}

#endif
