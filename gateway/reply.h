/*
 * reply.h: an answer onto the HTTP connection. Floor 4.
 */
#ifndef OTPQ_GATEWAY_REPLY_H
#define OTPQ_GATEWAY_REPLY_H

#include "common/adapters/httpd.h"
#include "gateway/answer.h"

/* Sends it and ends the request; the answer stays the caller's. */
void reply_send(struct httpd_request *request, const struct answer *answer);

#endif
