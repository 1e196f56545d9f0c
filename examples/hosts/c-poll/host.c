/* A loop around poll(2), in which a tree of actors lives as a guest: a worker process finds primes, and
 * meanwhile the loop's own timer shows how far it is. When there are as many as are wanted, or on
 * Ctrl-C, the worker is cancelled, and says so; then everything ends, in order.
 *
 *     host WORKER [HOW-MANY]
 */
#define _GNU_SOURCE

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tractor.h"

/* How long a turn may keep the loop from its other work. */
#define BUDGET_NS (2 * 1000 * 1000)
#define TICK_NS (20 * 1000 * 1000)
#define END_LIMIT_NS (UINT64_C(5) * 1000 * 1000 * 1000)

struct host {
    tractor_guest *guest;
    uint64_t context;
    uint64_t wanted;
    uint64_t found;
    uint64_t last;
    unsigned ticks;
    int failed;
};

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, tractor_last_error());
    exit(1);
}

static int checked(int code, const char *what)
{
    if (code < 0)
        fail(what);
    return code;
}

/* The one kind of MessagePack that this worker sends: a number that is not negative. */
static uint64_t number(const uint8_t *value, size_t len)
{
    uint64_t n = 0;
    if (len == 1 && value[0] < 0x80)
        return value[0];
    if (len < 2 || value[0] < 0xcc || value[0] > 0xcf || len != 1u + (1u << (value[0] - 0xcc))) {
        fprintf(stderr, "that is no number\n");
        exit(1);
    }
    for (size_t i = 1; i < len; i++)
        n = n << 8 | value[i];
    return n;
}

static void on_started(void *data, uint64_t context, const uint8_t *value, size_t len)
{
    (void)data, (void)context;
    printf("looking from %" PRIu64 " on\n", number(value, len));
}

static void on_item(void *data, uint64_t context, const uint8_t *value, size_t len)
{
    struct host *host = data;
    host->last = number(value, len);
    if (++host->found == host->wanted) {
        printf("enough\n");
        checked(tractor_context_cancel(host->guest, context), "cancel");
    }
}

static void on_context_ended(void *data, uint64_t context, const tractor_end *end)
{
    struct host *host = data;
    (void)context;
    switch (end->outcome) {
    case TRACTOR_CANCELLED:
        printf("cancelled by %s, %s\n", end->canceller ? end->canceller : "nobody",
               end->requested ? "as asked" : "unasked");
        host->failed |= !end->requested;
        break;
    case TRACTOR_RETURNED:
        printf("returned\n");
        host->failed = 1;
        break;
    default:
        printf("%s: %s\n", end->error_type ? end->error_type : "failed", end->text);
        host->failed = 1;
    }
    /* Nothing else is to be done here. */
    checked(tractor_guest_stop(host->guest), "stop");
}

static void on_worker_ended(void *data, uint64_t worker, const tractor_end *end)
{
    (void)data, (void)worker;
    printf("the worker is gone%s%s\n", end->text ? ": " : "", end->text ? end->text : "");
}

static void start(struct host *host, const char *program)
{
    const char *expose[] = {"primes", NULL};
    tractor_worker_options worker = {
        .size = sizeof worker,
        .name = "primes",
        .program = program,
        .expose = expose,
        .ended = on_worker_ended,
        .data = host,
    };
    uint64_t id;
    checked(tractor_worker_start(host->guest, &worker, &id), "start the worker");

    /* {"from": 1000000} */
    const uint8_t args[] = {0x81, 0xa4, 'f', 'r', 'o', 'm', 0xce, 0x00, 0x0f, 0x42, 0x40};
    tractor_context_options context = {
        .size = sizeof context,
        .endpoint = "primes:find",
        .args = args,
        .args_len = sizeof args,
        .started = on_started,
        .item = on_item,
        .ended = on_context_ended,
        .data = host,
    };
    checked(tractor_context_open(host->guest, id, &context, &host->context), "open the context");
}

/* Ctrl-C, as something to poll. */
static int interrupts(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    return sigprocmask(SIG_BLOCK, &set, NULL) ? -1 : signalfd(-1, &set, SFD_CLOEXEC);
}

static int ticks(void)
{
    struct itimerspec every = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    return fd < 0 || timerfd_settime(fd, 0, &every, NULL) ? -1 : fd;
}

/* Until the guest is done. */
static void loop(struct host *host, int timer, int interrupt)
{
    struct pollfd fds[] = {
        {.fd = checked(tractor_guest_fd(host->guest), "descriptor"), .events = POLLIN},
        {.fd = timer, .events = POLLIN},
        {.fd = interrupt, .events = POLLIN},
    };
    for (;;) {
        uint64_t due;
        int progress = checked(tractor_guest_turn(host->guest, BUDGET_NS), "turn");
        if (progress == TRACTOR_DONE)
            return;
        checked(tractor_guest_next_deadline(host->guest, &due), "deadline");
        struct timespec limit = {.tv_sec = due / 1000000000, .tv_nsec = due % 1000000000};
        if (ppoll(fds, 3, due == TRACTOR_NEVER ? NULL : &limit, NULL) < 0 && errno != EINTR) {
            perror("ppoll");
            exit(1);
        }
        if (fds[1].revents) {
            uint64_t missed;
            if (read(timer, &missed, sizeof missed) == sizeof missed) {
                host->ticks++;
                printf("tick %u: %" PRIu64 " found, the last is %" PRIu64 "\n", host->ticks,
                       host->found, host->last);
            }
        }
        if (fds[2].revents) {
            struct signalfd_siginfo info;
            if (read(interrupt, &info, sizeof info) == sizeof info) {
                printf("interrupted\n");
                /* It may have ended already. */
                if (tractor_context_cancel(host->guest, host->context) == TRACTOR_GONE)
                    checked(tractor_guest_stop(host->guest), "stop");
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct host host = {.wanted = 5000};
    if (argc < 2) {
        fprintf(stderr, "usage: host WORKER [HOW-MANY]\n");
        return 2;
    }
    if (argc > 2)
        host.wanted = strtoull(argv[2], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);

    int timer = ticks(), interrupt = interrupts();
    if (timer < 0 || interrupt < 0) {
        perror("the loop's own descriptors");
        return 1;
    }
    printf("tractor %s\n", tractor_version());
    checked(tractor_guest_new("c-poll", &host.guest), "guest");
    start(&host, argv[1]);
    loop(&host, timer, interrupt);
    checked(tractor_guest_free(host.guest, END_LIMIT_NS), "free");
    close(timer);
    close(interrupt);
    printf("%" PRIu64 " found, %u ticks\n", host.found, host.ticks);
    return host.failed;
}
