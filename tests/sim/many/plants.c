/* plants.c: names of the bugs that can be planted. */
#include "tests/sim/many/many.h"
#include "tests/sim/sim.h"

static const char *const names[PLANTS] = {
    [PLANT_NONE] = "none",
    [PLANT_CLAIM_TWICE] = "claim-won-twice",
    [PLANT_CLAIM_ATTEMPT] = "claim-attempt",
    [PLANT_CLAIM_FP] = "claim-fingerprint",
    [PLANT_CLAIM_LEASE] = "claim-lease",
    [PLANT_CLAIM_DEADLINE] = "claim-deadline",
    [PLANT_FINISH_OWNER] = "finish-owner",
    [PLANT_RELEASE_OWNER] = "release-owner",
    [PLANT_REAP_LEASE] = "reap-lease",
    [PLANT_SHELF_PUT] = "shelf-put-owner",
    [PLANT_SHELF_REMOVE] = "shelf-remove-owner",
    [PLANT_SHELF_OPEN] = "shelf-open-owner",
    [PLANT_SHELF_NUMBER] = "shelf-commit-number",
    [PLANT_SHELF_TAKE] = "shelf-take-from",
    [PLANT_SHELF_DROP] = "shelf-drop-empty",
    [PLANT_CANCEL_EARLY] = "cancel-before-removal",
    [PLANT_STORED_EARLY] = "stored-before-commit",
    [PLANT_ADOPTED_FRESH] = "adopted-as-new",
    [PLANT_FORGOT_CLAIMS] = "forgot-claims",
    [PLANT_FORGOT_SHELVES] = "forgot-shelves",
    [PLANT_PUT_BACK] = "claim-put-back",
    [PLANT_AGAIN] = "again",
};

const char *plant_name(uint32_t plant)
{
    return plant < PLANTS ? names[plant] : NULL;
}
