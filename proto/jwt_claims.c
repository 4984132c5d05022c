/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims (RFC 7519 4, and CONTRACTS.md 4): collected first, of several with one name the last; then
 * judged, in the order in which somebody would want to know: time, issuer, audience, and what the
 * token says about its bearer.
 */
#include "proto/jwt_key.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum claim {
    CLAIM_EXP,
    CLAIM_NBF,
    CLAIM_ISS,
    CLAIM_AUD,
    CLAIM_SUB,
    CLAIM_USER_ID,
    CLAIM_TENANT_ID,
    CLAIM_PROJECT_ID,
    CLAIM_SESSION_ID,
    CLAIM_EMAIL,
    CLAIM_ROLES,
    CLAIM_PERMISSIONS,
    CLAIM_SCOPE,
    CLAIM_SCOPES,
    CLAIM_PROJECTS,
    CLAIM_ROOMS,
    CLAIMS
};

static const char *const claim_names[CLAIMS] = {
    [CLAIM_EXP] = "exp",
    [CLAIM_NBF] = "nbf",
    [CLAIM_ISS] = "iss",
    [CLAIM_AUD] = "aud",
    [CLAIM_SUB] = "sub",
    [CLAIM_USER_ID] = "userId",
    [CLAIM_TENANT_ID] = "tenantId",
    [CLAIM_PROJECT_ID] = "projectId",
    [CLAIM_SESSION_ID] = "sessionId",
    [CLAIM_EMAIL] = "email",
    [CLAIM_ROLES] = "roles",
    [CLAIM_PERMISSIONS] = "permissions",
    [CLAIM_SCOPE] = "scope",
    [CLAIM_SCOPES] = "scopes",
    [CLAIM_PROJECTS] = "projects",
    [CLAIM_ROOMS] = "rooms",
};

/* An absent one is a null, which is what zeroed memory says. */
_Static_assert(JSON_NULL == 0, "a claim that is not there is null");

struct judge {
    const struct jwt_keys *keys;
    struct json_value claim[CLAIMS];
    char *why;
};

static enum jwt_reason wrong_claim(struct judge *judge, enum claim claim, const char *must_be)
{
    snprintf(judge->why, JWT_WHY_MAX, "claim %s must be %s", claim_names[claim], must_be);
    return JWT_CLAIM;
}

static void collect(struct judge *judge, struct span object)
{
    struct json_walk walk = json_walk(object);
    struct json_value value;
    struct span name;
    while (json_next(&walk, &name, &value)) {
        if (walk.name_escaped)
            name.length = json_unescape(name, (uint8_t *)(uintptr_t)name.at);
        for (enum claim i = 0; i < CLAIMS; i++)
            if (span_is(name, claim_names[i]))
                judge->claim[i] = value;
    }
}

/* NumericDate: seconds, perhaps with a fraction (RFC 7519 2), which is dropped. 0: absent. */
static enum jwt_reason read_date(struct judge *judge, enum claim claim, int64_t *out)
{
    const struct json_value *value = &judge->claim[claim];
    char text[40];
    *out = 0;
    if (value->kind == JSON_NULL)
        return JWT_VALID;
    if (value->kind != JSON_NUMBER || value->text.length >= sizeof text)
        return wrong_claim(judge, claim, "a time in seconds");
    snprintf(text, sizeof text, "%.*s", SPAN_ARGS(value->text));
    double seconds = strtod(text, NULL);
    /* Until the year 33658, where a double still counts every second and sums cannot overflow. */
    if (!(seconds >= 1 && seconds < 1e12))
        return wrong_claim(judge, claim, "a time in seconds");
    *out = (int64_t)floor(seconds);
    return JWT_VALID;
}

static enum jwt_reason judge_times(struct judge *judge, int64_t now_s, int64_t *expires_s)
{
    int64_t not_before_s, leeway_s = judge->keys->leeway_s;
    enum jwt_reason reason = read_date(judge, CLAIM_EXP, expires_s);
    if (reason == JWT_VALID)
        reason = read_date(judge, CLAIM_NBF, &not_before_s);
    if (reason != JWT_VALID)
        return reason;
    if (*expires_s != 0 && now_s >= *expires_s + leeway_s)
        return jwt_refuse(JWT_EXPIRED, judge->why);
    if (now_s < not_before_s - leeway_s)
        return jwt_refuse(JWT_NOT_YET, judge->why);
    return JWT_VALID;
}

static bool is_integer(struct span text)
{
    for (size_t i = text.at[0] == '-' ? 1 : 0; i < text.length; i++)
        if (!isdigit(text.at[i]))
            return false;
    return true;
}

/* Calls `each` for the string, or for every member of the array of strings;
 * integers too if `integers`. False: the value is of another shape, or `each` said so. */
static bool each_text(const struct json_value *value, bool integers, void *context,
                      bool (*each)(void *context, struct span text))
{
    struct json_value member;
    struct span name;
    if (value->kind == JSON_NULL)
        return true;
    if (value->kind == JSON_STRING)
        return each(context, jwt_string(value));
    if (integers && value->kind == JSON_NUMBER && is_integer(value->text))
        return each(context, value->text);
    if (value->kind != JSON_ARRAY)
        return false;
    struct json_walk walk = json_walk(value->text);
    while (json_next(&walk, &name, &member))
        if (member.kind == JSON_ARRAY || member.kind == JSON_NULL ||
            !each_text(&member, integers, context, each))
            return false;
    return true;
}

struct sought {
    const char *text;
    bool found;
};

static bool seek(void *context, struct span text)
{
    struct sought *sought = context;
    if (span_is(text, sought->text))
        sought->found = true;
    return true;
}

static enum jwt_reason judge_origin(struct judge *judge)
{
    struct sought issuer = {.text = judge->keys->issuer};
    struct sought audience = {.text = judge->keys->audience};
    if (issuer.text[0] != '\0') {
        const struct json_value *value = &judge->claim[CLAIM_ISS];
        if (value->kind != JSON_STRING || !span_is(jwt_string(value), issuer.text))
            return jwt_refuse(JWT_ISSUER, judge->why);
    }
    if (audience.text[0] != '\0' &&
        (!each_text(&judge->claim[CLAIM_AUD], false, &audience, seek) || !audience.found))
        return jwt_refuse(JWT_AUDIENCE, judge->why);
    return JWT_VALID;
}

/* A string or an integer into `out`; empty and absent are the same. */
static enum jwt_reason read_text(struct judge *judge, enum claim claim,
                                 char out[PRINCIPAL_TEXT_MAX + 1])
{
    const struct json_value *value = &judge->claim[claim];
    struct span text = value->text;
    if (value->kind == JSON_NULL)
        return JWT_VALID;
    if (value->kind == JSON_STRING)
        text = jwt_string(value);
    else if (value->kind != JSON_NUMBER || !is_integer(text))
        return wrong_claim(judge, claim, "a text or an integer");
    if (text.length > PRINCIPAL_TEXT_MAX)
        return wrong_claim(judge, claim, "at most 128 bytes long");
    memcpy(out, text.at, text.length);
    out[text.length] = '\0';
    return JWT_VALID;
}

static enum jwt_reason judge_bearer(struct judge *judge, struct principal *out)
{
    const struct {
        enum claim claim;
        char *text;
    } texts[] = {
        {CLAIM_USER_ID, out->user_id},       {CLAIM_SUB, out->user_id}, /* sub prevails */
        {CLAIM_TENANT_ID, out->tenant_id},   {CLAIM_PROJECT_ID, out->project_id},
        {CLAIM_SESSION_ID, out->session_id}, {CLAIM_EMAIL, out->email},
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char text[PRINCIPAL_TEXT_MAX + 1] = "";
        enum jwt_reason reason = read_text(judge, texts[i].claim, text);
        if (reason != JWT_VALID)
            return reason;
        if (text[0] != '\0')
            memcpy(texts[i].text, text, sizeof text);
    }
    return JWT_VALID;
}

/* Words parted by spaces, each perhaps a scope of ours; the rest is for others. */
static bool add_scopes(void *context, struct span text)
{
    static const struct {
        const char *word;
        enum scope scope;
    } scopes[] = {
        {"ingest", SCOPE_INGEST},   {"ingest:any", SCOPE_INGEST_ANY},
        {"publish", SCOPE_PUBLISH}, {"publish:all", SCOPE_PUBLISH_ALL},
        {"admin", SCOPE_ADMIN},     {"stats", SCOPE_STATS},
    };
    unsigned *bits = context;
    while (text.length > 0) {
        const uint8_t *space = memchr(text.at, ' ', text.length);
        size_t length = space != NULL ? (size_t)(space - text.at) : text.length;
        for (size_t i = 0; i < COUNT_OF(scopes); i++)
            if (span_is(span_of(text.at, length), scopes[i].word))
                *bits |= scopes[i].scope;
        text = span_from(text, space != NULL ? length + 1 : length);
    }
    return true;
}

/* A role is the application's word; only this one is ours as well. */
static bool add_role(void *context, struct span text)
{
    unsigned *bits = context;
    if (span_is(text, "admin"))
        *bits |= SCOPE_ADMIN;
    return true;
}

static enum jwt_reason judge_scopes(struct judge *judge, unsigned *bits)
{
    static const enum claim claims[] = {CLAIM_SCOPE, CLAIM_SCOPES, CLAIM_PERMISSIONS, CLAIM_ROLES};
    for (size_t i = 0; i < COUNT_OF(claims); i++)
        if (!each_text(&judge->claim[claims[i]], false, bits,
                       claims[i] == CLAIM_ROLES ? add_role : add_scopes))
            return wrong_claim(judge, claims[i], "a text or an array of texts");
    return JWT_VALID;
}

struct list {
    char *at, *end;
};

/* Appends a name and its NUL, and keeps a place for the last, empty one. */
static bool add_name(void *context, struct span text)
{
    struct list *list = context;
    if (text.length == 0 || text.length > PRINCIPAL_TEXT_MAX ||
        text.length + 2 > (size_t)(list->end - list->at))
        return false;
    memcpy(list->at, text.at, text.length);
    list->at[text.length] = '\0';
    list->at += text.length + 1;
    return true;
}

static enum jwt_reason judge_list(struct judge *judge, enum claim claim,
                                  char out[PRINCIPAL_LIST_MAX], size_t *used)
{
    struct list list = {out, out + PRINCIPAL_LIST_MAX};
    if (!each_text(&judge->claim[claim], true, &list, add_name))
        return wrong_claim(judge, claim, "an array of names of 1 to 128 bytes, 2047 in all");
    *list.at = '\0';
    *used = (size_t)(list.at - out) + 1;
    return JWT_VALID;
}

enum jwt_reason jwt_claims_judge(const struct jwt_keys *keys, struct span text, int64_t now_s,
                                 struct principal *out, char *why)
{
    struct judge judge = {.keys = keys, .why = why};
    struct principal found = {0};
    size_t projects = 0, rooms;
    collect(&judge, text);
    enum jwt_reason reason = judge_times(&judge, now_s, &found.expires_s);
    if (reason == JWT_VALID)
        reason = judge_origin(&judge);
    if (reason == JWT_VALID)
        reason = judge_bearer(&judge, &found);
    if (reason == JWT_VALID)
        reason = judge_scopes(&judge, &found.scopes);
    if (reason == JWT_VALID)
        reason = judge_list(&judge, CLAIM_PROJECTS, found.lists, &projects);
    if (reason == JWT_VALID)
        reason = judge_list(&judge, CLAIM_ROOMS, found.lists + projects, &rooms);
    found.rooms_at = (uint16_t)projects;
    found.lists_rooms = judge.claim[CLAIM_ROOMS].kind != JSON_NULL;
    if (reason == JWT_VALID)
        *out = found;
    return reason;
}
