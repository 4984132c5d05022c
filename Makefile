# ringmain. `make help` is the table of contents.

BUILD ?= release
OUT   := build/$(BUILD)
ROOMS := core proto ws batch metrics

WARN     := -Wall -Wextra -Werror -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes
PACKAGES := liburing libpq libjwt inih zlib libxxhash libcrypto
PG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LIBS     := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lpthread -lm
VERSION  := 0.1.0
CFLAGS_release := -O3 -g -fno-plt
CFLAGS_debug   := -O1 -g3
CFLAGS_asan    := -O1 -g3 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g3 -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_fuzz    := $(CFLAGS_asan) -fsanitize=fuzzer-no-link
CFLAGS_clang   := -O2 -g
ifneq ($(filter fuzz clang,$(BUILD)),)
CC := clang
endif
CFLAGS  ?=
ALL_CFLAGS := -std=gnu11 $(WARN) -I. $(PG_CFLAGS) -D_GNU_SOURCE -DRINGMAIN_VERSION='"$(VERSION)"' \
	-isystem /usr/share/include -fno-strict-aliasing $(CFLAGS_$(BUILD)) $(CFLAGS)
LLHTTP  := /usr/share/llhttp
# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $@)

SOURCES := $(filter-out core/main.c,$(wildcard $(ROOMS:=/*.c)))
OBJECTS := $(SOURCES:%.c=$(OUT)/%.o)
LLHTTP_OBJECTS := $(OUT)/llhttp/api.o $(OUT)/llhttp/http.o $(OUT)/llhttp/llhttp.o
LIBRARY := $(OUT)/libringmain.a
UNITS   := $(patsubst %.c,$(OUT)/%,$(wildcard tests/unit/*_test.c))
FUZZERS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/fuzz/*_fuzz.c))
PERFS   := $(patsubst %.c,$(OUT)/%,$(wildcard perf/*.c)) $(OUT)/perf/load/load
# The simulation replaces these: see core/ring.h.
SEAM    := core/ring.c core/file.c core/clock.c core/socket.c core/region.c batch/postgres.c
SIM_WRAP := calloc free mmap munmap
SIM_LIBRARY_OBJECTS := $(filter-out $(SEAM:%.c=$(OUT)/%.o),$(OBJECTS))
SIM_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/sim/*.c))

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all help deps run test units fuzzers sims perfs bench bench-live fuzz sim mutants torture lint layers format clean

all: $(OUT)/ringmain ## build the program (BUILD=release|debug|asan|tsan)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

deps: ## install what building and testing need (Debian 12)
	@sh packaging/deps.sh

run: deps ## build, start a private Postgres and ringmain; Ctrl-C stops both
	@$(MAKE) --no-print-directory all
	@exec bash packaging/run.sh $(OUT)/ringmain

test: deps ## every test; ends in "N passed, N failed"
	@exec bash tests/run.sh

bench: deps ## measure against the limit and plot; appends to perf/results.ndjson
	@$(MAKE) --no-print-directory all perfs
	@exec python3 perf/bench.py $(OUT)

bench-live: deps ## fan-out and echo beside a bare io_uring program, latency, set-up, memory (PARTS=echo,fan)
	@$(MAKE) --no-print-directory all perfs
	@exec python3 perf/live.py $(OUT)

fuzz: deps ## fuzz every codec for a minute each (SECONDS_EACH=60)
	@exec bash tests/fuzz/run.sh

torture: all ## kill it 1,000 times, Postgres 50 times, and worse; count (KILLS=n FAULTS=n PART=…)
	@exec bash tests/torture/run.sh

sim: ## the engine on simulated hardware (SEEDS=n, SEED=n to replay one)
	@$(MAKE) --no-print-directory sims
	@$(OUT)/tests/sim/sim

mutants: sims ## bugs that the simulation has to see, planted one by one
	@exec bash tests/mutants/run.sh

lint: layers ## layers, form, static analysis
	@exec bash tests/lint.sh

layers: ## includes point down only
	@bash tests/layers.sh

format: ## clang-format everything
	@clang-format -i $$(git ls-files '*.c' '*.h')

clean: ## remove what was built
	rm -rf build

units: $(UNITS)
fuzzers: $(FUZZERS)
perfs: $(PERFS)
sims: $(OUT)/tests/sim/sim

$(OUT)/ringmain: $(OUT)/core/main.o $(LIBRARY)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(LIBRARY): $(OBJECTS) $(LLHTTP_OBJECTS)
	@rm -f $@
	$(call say,AR)
	$(Q)ar rcs $@ $^

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/metrics/page.o: metrics/dashboard/index.html

$(OUT)/llhttp/%.o: $(LLHTTP)/%.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=gnu11 -w -O2 -DLLHTTP_STRICT_MODE=1 $(filter -fsanitize%,$(CFLAGS_$(BUILD))) -I/usr/share/include/llhttp -c -o $@ $<

$(OUT)/tests/unit/%: $(OUT)/tests/unit/%.o $(LIBRARY)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

# With BUILD=fuzz the fuzzer's own main; else one that replays a corpus.
ifeq ($(BUILD),fuzz)
$(OUT)/tests/fuzz/%_fuzz: $(OUT)/tests/fuzz/%_fuzz.o $(LIBRARY)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)
else
$(OUT)/tests/fuzz/%_fuzz: $(OUT)/tests/fuzz/%_fuzz.o $(OUT)/tests/fuzz/replay.o $(LIBRARY)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(LIBS)
endif

$(OUT)/tests/sim/sim: $(SIM_OBJECTS) $(SIM_LIBRARY_OBJECTS) $(LLHTTP_OBJECTS)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(SIM_WRAP:%=-Wl,--wrap=%) -o $@ $^ $(LIBS)

# The load shares no code with ringmain: it would not see its mistakes.
$(OUT)/perf/load/load: $(patsubst %.c,$(OUT)/%.o,$(wildcard perf/load/*.c))
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^

$(OUT)/perf/%: $(OUT)/perf/%.o $(LIBRARY)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

.SECONDARY:
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
