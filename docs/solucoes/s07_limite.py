"""Solução 7: no máximo tantas mensagens por segundo, com um balde de fichas.

O balde enche devagar e esvazia aos saltos: quem ficou calado pode dizer várias coisas de uma vez, mas
ninguém fala depressa para sempre. O relógio vem de fora: o teste o adianta, em vez de esperar.

Para usá-la num servidor, antes de `servir()`:

    servidor.filas = FilasComLimite(balde=lambda: Balde(3, 1.0), cumprir=servidor.cumprir)
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from filas import Efeito, Filas, Participante  # noqa: E402
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
    """Cada participante tem o seu balde; a mensagem que não cabe é recusada com um aviso, e não atrasada.

    `cumprir(efeito, eu)` entrega o aviso: é a de `Servidor`. Quando só uma parte cabe, são dois os que
    têm linhas a receber, e quem chama `repassar_chat` só entrega a um: o outro ficaria à espera de que
    alguém, um dia, lhe dissesse mais alguma coisa.
    """

    def __init__(
        self, *args, balde: Callable[[], Balde], cumprir: Callable[[Efeito, Participante], None], **opcoes
    ) -> None:
        super().__init__(*args, **opcoes)
        self.novo_balde, self.cumprir = balde, cumprir
        self.baldes: dict[Participante, Balde] = {}  # só a thread de cada um mexe no seu

    def repassar_chat(self, eu: Participante, mensagem: Mensagem) -> Participante | None:
        cabem = self.baldes.setdefault(eu, self.novo_balde()).tirar(len(mensagem.textos))
        destino = super().repassar_chat(eu, Mensagem(mensagem.nome, mensagem.textos[:cabem])) if cabem else None
        if cabem < len(mensagem.textos):
            # `eu` vai junto: na sua própria thread ele pode bloquear, e quem não lê os avisos para de falar.
            self.cumprir(self.responder(eu, Aviso("Devagar: a mensagem não foi enviada.")), eu)
        return destino

    def sair(self, eu: Participante) -> Efeito:
        self.baldes.pop(eu, None)  # sem isto, a memória cresceria a cada conexão
        return super().sair(eu)
