"""Solução 6: uma fila com prioridade.

Quem é prioritário passa à frente dos outros, mas não dos prioritários que já esperavam: é uma
ordenação estável. Quem foi passado para trás fica sabendo pelo caminho de sempre, o carteiro, porque
se marca `posicoes_mudaram`. Nada do que trata de rede precisou mudar.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from atendimento.filas import Fato, Filas, Participante  # noqa: E402


class FilasComPrioridade(Filas):
    """`prioritario` diz, de um cliente, se ele passa à frente."""

    def __init__(self, *args, prioritario: Callable[[Participante], bool], **opcoes) -> None:
        super().__init__(*args, **opcoes)
        self.prioritario = prioritario

    def _enfileirar(self, fato: Fato, *chegaram: Participante, na_frente: bool = False) -> None:
        """Exige a trava."""
        super()._enfileirar(fato, *chegaram, na_frente=na_frente)
        # Depois de formar os pares que houver: quem já foi atendido não está na fila.
        antes = self.fila_clientes.copy()
        self.fila_clientes.sort(key=lambda cliente: not self.prioritario(cliente))
        if self.fila_clientes != antes:
            self.posicoes_mudaram = True
