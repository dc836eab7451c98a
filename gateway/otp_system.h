/*
 * otp_system.h: what systems 1 and 2 have in common: parameters → job → answer in one of two
 * shapes. Floor 4.
 */
#ifndef OTPQ_GATEWAY_OTP_SYSTEM_H
#define OTPQ_GATEWAY_OTP_SYSTEM_H

#include "gateway/intake.h"
#include "gateway/otp_request.h"

/* After the address said whom it is for. p->system is set. */
void otp_take(struct intake *p, const struct records *records, const struct binding *binding,
              bool verify, const struct intake_input *in);
void otp_tell(struct answer *a, enum answer_shape shape, const struct otpq_answer *from);
void otp_fail(struct answer *a, const void *kept, enum result_code code, int http,
              const char *detail, uint32_t retry_after_s);

#endif
