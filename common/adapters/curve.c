#include "common/adapters/curve.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

void curve_pair_make(struct curve_pair *out)
{
    need(zmq_curve_keypair(out->public_key, out->secret_key) == 0);
}

bool curve_pair_read(const char *path, struct curve_pair *out, char why[256])
{
    char public_key[CURVE_KEY_CHARS + 1];
    *out = (struct curve_pair){.public_key = ""};
    if (path[0] == '\0') {
        return true;
    }
    if (!curve_file_read(path, out, why)) {
        return false;
    }
    if (zmq_curve_public(public_key, out->secret_key) == 0 &&
        strcmp(public_key, out->public_key) == 0) {
        return true;
    }
    curve_pair_wipe(out);
    (void)snprintf(why, 256, "public_key is not that of secret_key");
    return false;
}
