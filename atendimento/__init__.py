"""As peças da fila de atendimento, que os três programas do alto juntam."""

import sys

if sys.version_info < (3, 10):
    # Um Python mais velho chega até aqui, e não mais longe: os três programas só usam o que ele sabe compilar.
    sys.exit("Este programa precisa do Python 3.10 ou mais novo; este é o {}.{}.".format(*sys.version_info))
