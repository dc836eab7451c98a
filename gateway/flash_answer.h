/*
 * flash_answer.h: the answers of FOTP (system 4), key for key as they are published. Values in,
 * bytes out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_FLASH_ANSWER_H
#define OTPQ_GATEWAY_FLASH_ANSWER_H

#include "common/meaning/job.h"
#include "gateway/answer.h"
#include "gateway/language.h"

enum { FLASH_TOKEN_BYTES = 32 };

/* True for 32 lower-case hex digits. */
MUST_CHECK bool flash_token_ok(struct slice token);

/* A link was made. url_base: where links begin that otpq serves itself; the result's own url goes
 * before it. A request whose code the advertiser makes has neither url nor code. */
void flash_answer_created(struct answer *a, enum language language, const struct job_result *r,
                          const char *url_base, bool has_link);
/* The state of one. Times come as UTC and go out in the time zone. */
void flash_answer_state(struct answer *a, enum language language, const struct job_result *r,
                        const char *time_zone);
/* http 0: the code's own status; detail may be empty. */
void flash_answer_failure(struct answer *a, enum language language, enum result_code code, int http,
                          struct slice detail, uint32_t retry_after_s);

#endif
