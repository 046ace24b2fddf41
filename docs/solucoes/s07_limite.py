"""Solução 7: no máximo tantas mensagens por segundo, com um balde de fichas.

O balde enche devagar e esvazia aos saltos: quem ficou calado pode dizer várias coisas de uma vez, mas
ninguém fala rápido para sempre. O relógio vem de fora: o teste o adianta, em vez de esperar.

Para usá-la num servidor:

    Servidor(("0.0.0.0", 12345), FilasComLimite(balde=lambda: Balde(3, 1.0)))
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from atendimento.filas import Filas, Participante  # noqa: E402
from protocolo import Aviso, Mensagem  # noqa: E402


class Balde:
    """Até `capacidade` fichas; ganha `por_segundo`."""

    def __init__(self, capacidade: int, por_segundo: float, relogio: Callable[[], float] = time.monotonic) -> None:
        self.capacidade, self.por_segundo, self.relogio = capacidade, por_segundo, relogio
        self.fichas, self.visto = float(capacidade), relogio()

    def tirar(self, quantas: int) -> int:
        """Tira até `quantas` fichas; diz quantas havia."""
        agora = self.relogio()
        self.fichas = min(self.capacidade, self.fichas + (agora - self.visto) * self.por_segundo)
        self.visto = agora
        tiradas = min(quantas, int(self.fichas))
        self.fichas -= tiradas
        return tiradas


class FilasComLimite(Filas):
    """Cada participante tem o seu balde; a mensagem que não cabe é recusada com um aviso, e não atrasada."""

    def __init__(self, *args, balde: Callable[[], Balde], **opcoes) -> None:
        super().__init__(*args, **opcoes)
        self.novo_balde = balde
        self.baldes: dict[Participante, Balde] = {}  # só a thread de cada um mexe no seu

    def repassar_chat(self, quem: Participante, mensagem: Mensagem) -> Participante | None:
        cabem = self.baldes.setdefault(quem, self.novo_balde()).tirar(len(mensagem.textos))
        destino = super().repassar_chat(quem, Mensagem(mensagem.nome, mensagem.textos[:cabem])) if cabem else quem
        if cabem < len(mensagem.textos):
            self.responder(quem, Aviso("Devagar: a mensagem não foi enviada."))
        # Quem chama espera por um só. Pelo par, se algo lhe foi; senão, por quem não lê os avisos: ele para de falar.
        return destino

    def sair(self, quem: Participante) -> None:
        self.baldes.pop(quem, None)  # sem isto, a memória cresceria a cada conexão
        super().sair(quem)
