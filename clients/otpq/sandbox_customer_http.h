/*
 * sandbox_customer_http.h: the customer's side of the sandbox over HTTP: /customer/{name} and
 * /callbacks. Floor 4.
 */
#ifndef OTPQ_COMMAND_SANDBOX_CUSTOMER_HTTP_H
#define OTPQ_COMMAND_SANDBOX_CUSTOMER_HTTP_H

#include "clients/otpq/sandbox_customer.h"
#include "common/adapters/httpd.h"

#define CUSTOMER_PATH "/customer/"

/* A callback; its path begins with CUSTOMER_PATH. Answers it. */
void customer_http_take(struct customer *c, struct httpd_request *r);
/* GET /callbacks?name= */
void customer_http_look(const struct customer *c, struct httpd_request *r);

#endif
