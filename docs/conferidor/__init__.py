"""As peças de `docs/conferir.py`: o diálogo, os processos, as regras do servidor e as do programa do aluno."""
