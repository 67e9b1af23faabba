# Each target makes and reuses .venv by itself, peers .venv-peers, and cluster .venv-cluster; see .ci/venv. PYTHON=python3.12 chooses the interpreter.

.DEFAULT_GOAL := help
.PHONY: help demo service quick test long crash outages soak streams pgbouncer browser clients fuzz-http peers cluster check lint types imports changelog bench bench-peers bench-runs bench-executors
MAKEFLAGS += --no-print-directory
# Tests start many processes that import the same modules.
unexport PYTHONDONTWRITEBYTECODE

run := .venv/bin/python -m
# One process more than there are processors, because many tests wait for a lease, a kill or a server. Each gets a part of
# the tests in their order, so most fixtures of a module are made in one process.
processes = $$(( $$(getconf _NPROCESSORS_ONLN) + 1 ))
parallel = $(run) pytest --numprocesses=$(processes) --dist=worksteal
# The folders of `make quick`: their tests start no server and few processes.
in_memory := $(addprefix tests/,caching channels checkpointing codec engine errors graph langchain language runtime)
# It finds packages through the `python` of the search path.
complete := PATH="$(CURDIR)/.venv/bin:$$PATH" basedpyright --ignoreexternal --verifytypes

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## kill a run in the middle, go on, and prove that nothing was lost (FOLDER=... analyses another folder)
	@.ci/venv demo
	@$(run) examples.kill_demo $(if $(FOLDER),"$(FOLDER)")

service:  ## an order desk behind FastAPI on a SQLite file: open http://127.0.0.1:8000 (PORT=8080)
	@.ci/venv service
	@$(run) examples.service.with_fastapi $(or $(PORT),8000)

quick:  ## values, and whole graphs on MemorySaver: what to run while editing
	@.ci/venv dev
	$(parallel) --forms=memory --durations=10 $(in_memory) $(ARGS)

test:  ## run the tests (ARGS="tests/engine -x" chooses)
	@.ci/venv dev
	$(parallel) --durations=25 $(ARGS)

long:  ## run the tests in every form: each whole graph on each store in each durability mode
	@.ci/venv dev
	$(parallel) --forms=all --durations=25 $(ARGS)

crash:  ## kill, resume and compare: hours on two cores (ARGS as for test)
	@.ci/venv dev
	DURABLE_GRAPH_CRASH=long HYPOTHESIS_PROFILE=explore $(run) pytest tests/crash tests/postgres tests/runs --forms=all --timeout=3600 $(ARGS)

outages:  ## PostgreSQL away for 30 seconds, and a failover, during 50 leased runs: 2 minutes
	@.ci/venv dev
	$(run) pytest tests/runs/outages.py -s $(ARGS)

soak:  ## workers killed and started at random on both databases, and what a living one holds: 20 minutes (MINUTES=3)
	@.ci/venv dev
	$(run) tests.runs.soak --minutes $(or $(MINUTES),20)

streams:  ## 1,000 streams that a proxy cuts while servers are killed, and shutdowns with readers: 20 minutes (STREAMS=100)
	@.ci/venv dev
	STREAMS=$(or $(STREAMS),1000) $(run) pytest tests/services/streams.py -s $(ARGS)

pgbouncer:  ## PostgresSaver behind a real pgbouncer, from the system's packages
	@.ci/venv dev
	$(run) pytest tests/postgres/pgbouncer.py $(ARGS)

browser:  ## drive the page of `make service` in a headless Chromium, from the system's packages: 2 minutes
	@.ci/venv dev
	$(run) pytest tests/examples/browser.py $(ARGS)

clients:  ## LangGraph's clients for JavaScript on real servers; needs Node.js 20 and npm (ARGS="sdk.test.mjs" chooses)
	@.ci/venv dev
	$(run) tests.clients $(ARGS)

fuzz-http:  ## requests made at random of the HTTP service's description: 20 minutes (EXAMPLES=50 of each operation)
	@.ci/venv dev
	DURABLE_GRAPH_FUZZ=long DURABLE_GRAPH_FUZZ_EXAMPLES=$(or $(EXAMPLES),400) $(run) pytest tests/http/test_description.py --timeout=3600 $(ARGS)

peers:  ## run programs written for LangGraph on LangGraph and on durable_graph (ARGS="approval" runs one)
	@.ci/venv peers
	.venv-peers/bin/python -m tests.programs.peers $(ARGS)

cluster:  ## a fan-out on a real dask cluster of three workers, of which one is killed: 20 seconds
	@.ci/venv cluster
	.venv-cluster/bin/python -m tests.runtime.dask_cluster

check: lint types imports changelog  ## everything that is not a test: style, types, layers, changelog

lint:  ## ruff: style, and what ruff knows to go wrong
	@.ci/venv dev
	$(run) ruff check .
	$(run) ruff format --check .

types:  ## mypy over everything, and whether users get the type of every public name
	@.ci/venv dev
	$(run) mypy
	$(complete) durable_graph
	$(complete) durable_graph_sqlite
	$(complete) durable_graph_postgres
	$(complete) durable_graph_langchain
	$(complete) durable_graph_http
	$(complete) durable_graph_fastapi
	$(complete) durable_graph_aiohttp

imports:  ## import-linter: imports point down
	@.ci/venv dev
	.venv/bin/lint-imports

changelog:  ## towncrier: the fragments in changes/ make a changelog
	@.ci/venv dev
	$(run) towncrier build --draft

bench:  ## measure durable_graph, and what is reachable in Python (ARGS="chain_bare" chooses questions)
	@.ci/venv dev
	$(run) benchmarks $(ARGS)

bench-peers:  ## measure LangGraph and DBOS as well, and write docs/performance.md (with ARGS as for bench: only measure)
	@.ci/venv peers
	.venv-peers/bin/python -m benchmarks $(or $(ARGS),--write)

bench-runs:  ## measure runs beside procrastinate and DBOS, one_step and sleeping: 15 minutes (ARGS="--write" writes docs/performance.md)
	@.ci/venv peers
	.venv-peers/bin/python -m benchmarks.runs $(ARGS)

bench-executors:  ## measure 200 CPU-bound tasks on two processes beside one, and a task's cost on each executor: 3 minutes (ARGS="--tiny")
	@.ci/venv cluster
	.venv-cluster/bin/python -m benchmarks.executors $(ARGS)
