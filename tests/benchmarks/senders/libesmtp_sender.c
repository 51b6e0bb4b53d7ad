/* libESMTP; see load.py. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libesmtp.h> /* which needs what stands before it */

static const char header[] =
    "From: <sender@example.com>\r\nTo: <recipient@example.com>\r\nSubject: a benchmark\r\n"
    "Date: Sat, 28 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\n";
static char server[64];
static char *content;
static int octets;

/* The whole message in one piece; a length of NULL asks to begin anew. */
static const char *piece(void **context, int *length, void *argument)
{
    (void)argument;
    if (*context == NULL)
        *context = calloc(1, 1);
    char *given = *context;
    if (length == NULL) {
        *given = 0;
        return NULL;
    }
    *length = *given ? 0 : octets;
    *given = 1;
    return content;
}

static void delivered(smtp_message_t message, void *argument)
{
    (void)argument;
    if (smtp_message_transfer_status(message)->code != 250) {
        fprintf(stderr, "a message got lost\n");
        exit(1);
    }
}

static void send_all(int sessions, int messages)
{
    for (int i = 0; i < sessions; i++) {
        smtp_session_t session = smtp_create_session();
        smtp_set_server(session, server);
        for (int j = 0; j < messages; j++) {
            smtp_message_t message = smtp_add_message(session);
            smtp_set_reverse_path(message, "sender@example.com");
            smtp_add_recipient(message, "recipient@example.com");
            smtp_set_messagecb(message, piece, NULL);
        }
        if (!smtp_start_session(session)) {
            fprintf(stderr, "no session\n");
            exit(1);
        }
        smtp_enumerate_messages(session, delivered, NULL);
        smtp_destroy_session(session);
    }
}

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **arguments)
{
    if (count != 5)
        return 2;
    int sessions = atoi(arguments[2]), messages = atoi(arguments[3]), wanted = atoi(arguments[4]);
    snprintf(server, sizeof server, "127.0.0.1:%s", arguments[1]);
    int lines = (wanted - (int)strlen(header)) / 72;
    if (lines < 1)
        lines = 1;
    octets = (int)strlen(header) + lines * 72;
    content = malloc(octets + 1);
    char *at = stpcpy(content, header);
    for (int i = 0; i < lines; i++, at += 72) {
        memset(at, 'x', 70);
        memcpy(at + 70, "\r\n", 2);
    }
    if (messages == 1)
        send_all(sessions >= 10 ? sessions / 10 : 1, 1);
    else
        send_all(1, messages >= 10 ? messages / 10 : 1);
    double cpu = now(CLOCK_PROCESS_CPUTIME_ID), began = now(CLOCK_MONOTONIC);
    send_all(sessions, messages);
    printf("%f %f\n", now(CLOCK_PROCESS_CPUTIME_ID) - cpu, now(CLOCK_MONOTONIC) - began);
    return 0;
}
