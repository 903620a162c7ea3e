"""One attempt of a gang, whatever kind of job it is: starting, stopping, failing, and what follows."""
