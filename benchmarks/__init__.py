"""The figures that the project holds itself to, measured: `make bench`, explained in docs/performance.md.

__main__    the command: which figures, the table, the exit status
figures     the list of figures, each with what measures it
table       a row, its verdict, how rows are printed
machine     cores, CPU time and memory of processes, how busy a core is
processes   the gateway, nginx and the mock, each a process of its own
load        one load, put on a server by `ezai bench`
lab         what every figure is measured with; one run of a load, done again where it was disturbed
events      CPU per event: beside nginx, translated beside tapped, with few and many streams
unary       CPU per small unary request, beside nginx
latency     time to first token that the gateway adds
streams     memory per quiet stream; how many streams are held
starting    idle memory, start to ready
embedded    the embedded model
lag         how long the event loop is held up while large bodies come in
probe       a process that asks /healthz all the time
bodies      a process that posts large bodies
"""
