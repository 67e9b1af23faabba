"""From a call to its first superstep: new input, resume, commands, forks, nested graphs."""
