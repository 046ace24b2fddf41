"""As peças da fila de atendimento, que os três programas do alto juntam."""
