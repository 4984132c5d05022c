/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every door is open: said in the log, and to whoever waits for the file.
 */
#include "core/log.h"
#include "core/server.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

void serve_resolve(const char *address, uint16_t port, char out[300])
{
    const char *colon = strrchr(address, ':');
    int host = (int)(colon == NULL ? strlen(address) : (size_t)(colon - address));
    snprintf(out, 300, "%.*s:%u", host, address, port);
}

static int write_ready_file(struct server *server, const char *tcp, const char *http,
                            const char *metrics)
{
    const char *final = server->config->node_ready_file;
    char name[4096];
    snprintf(name, sizeof name, "%s.new", final);
    FILE *file = fopen(name, "w");
    if (file != NULL &&
        fprintf(file, "TCP=%s\nHTTP=%s\nMETRICS=%s\nPID=%d\n", tcp, http, metrics, (int)getpid()) >=
            0 &&
        fclose(file) == 0 && rename(name, final) == 0)
        return 0;
    snprintf(server->why, SERVER_WHY, "node.ready_file %s: %s", final, strerror(errno));
    return -EIO;
}

int serve_tell_ready(struct server *server)
{
    const struct config *config = server->config;
    char tcp[300] = "", http[300] = "", metrics[300] = "";
    if (config->listen_tcp[0] != '\0')
        serve_resolve(config->listen_tcp, server->port_tcp, tcp);
    if (config->listen_http[0] != '\0')
        serve_resolve(config->listen_http, server->port_http, http);
    if (config->listen_metrics[0] != '\0')
        serve_resolve(config->listen_metrics, server->port_metrics, metrics);
    int result =
        config->node_ready_file[0] == '\0' ? 0 : write_ready_file(server, tcp, http, metrics);
    if (result == 0)
        log_info("serve", "ringmain %s is up: %u shards, tcp %s, http %s, metrics %s",
                 RINGMAIN_VERSION, server->shards, tcp, http, metrics);
    return result;
}
