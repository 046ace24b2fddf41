"""As peças de `docs/conferir.py`: o diálogo, os processos, as regras do servidor e as do programa do aluno."""

import sys

if sys.version_info < (3, 10):
    # Aqui, e não só em `atendimento`: o conferidor se leva sem o projeto.
    sys.exit("Este programa precisa do Python 3.10 ou mais novo; este é o {}.{}.".format(*sys.version_info))
