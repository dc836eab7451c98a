/*
 * system.h: a served system: how a request to one of its addresses becomes a job, and how the
 * job's result, or a failure without a job, is told in the system's own words. One file a system;
 * values in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_SYSTEM_H
#define OTPQ_GATEWAY_SYSTEM_H

#include <otpq.h>

#include "common/meaning/record.h"
#include "gateway/answer.h"

struct intake;
struct intake_input;
struct router_match;

struct system {
    const char *name; /* for logs */
    /* What any answer needs of the request goes into p->kept, one allocation that free() ends. It
     * comes before take, and alone when the method is a wrong one. NULL: nothing. */
    void (*meet)(struct intake *p, const struct intake_input *in);
    /* Fills p: an answer at once (intake_answer), or a job (intake_job). What tell needs to know of
     * the request goes into p->kept, too. */
    void (*take)(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in);
    /* The job's result, or why there is none (outcome.h reads it). */
    void (*tell)(struct answer *a, const void *kept, const struct otpq_answer *from);
    /* A failure that never became a job. kept is NULL when there is no meet, and take was not
     * reached. http 0: the code's
     * own status. detail may be "". */
    void (*fail)(struct answer *a, const void *kept, enum result_code code, int http,
                 const char *detail, uint32_t retry_after_s);
    /* Ends what take kept, or NULL; a system without one leaves it to free(). */
    void (*drop)(void *kept);
};

/* Ends it, as the system says; takes NULL for either. */
void system_drop(const struct system *system, void *kept);

extern const struct system system_af;              /* af.c: system 2, the affiliate OTP API */
extern const struct system system_endpoint;        /* endpoint.c: system 1, generated endpoints */
extern const struct system system_flash_create;    /* flash.c: system 4, /flash/opt/verify */
extern const struct system system_flash_query;     /* flash.c: system 4, /flash/opt/query */
extern const struct system system_flash_page;      /* redirect.c: system 4, the link itself */
extern const struct system system_flash_mo;        /* mo.c: system 4, SMSs that users sent */
extern const struct system system_otpservice_send; /* otpservice.c: system 3, /send */
extern const struct system system_otpservice_code; /* otpservice.c: system 3, /code */
extern const struct system system_camara;          /* camara.c: system 5 */
extern const struct system system_report_in;       /* report_in.c: callbacks taken in */

#endif
