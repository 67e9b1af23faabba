"""How soon does a process notice what another one did to a run, and what does waiting for that cost?"""
