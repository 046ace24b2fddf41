"""Solução 2: um separador de linhas.

O estado entre um `recv` e o seguinte é só um: o começo da linha que ainda não acabou. Decodificar
antes de separar é a armadilha: o corte pode cair no meio de um acento. Comparado ao do projeto, falta
a este a limpeza dos caracteres de controle.
"""

from __future__ import annotations

MAXIMO = 4096  # bytes, com o \n


class Separador:
    def __init__(self) -> None:
        self.resto = b""
        self.descartando = False

    def alimentar(self, dados: bytes) -> list[str | None]:
        """As linhas que `dados` completa, sem o `\\n`; `None` no lugar de cada uma longa demais."""
        linhas: list[str | None] = []
        *completas, self.resto = (self.resto + dados).split(b"\n")
        for linha in completas:
            if self.descartando:
                self.descartando = False  # era o fim da longa, que já foi marcada
            elif len(linha) >= MAXIMO:
                linhas.append(None)
            else:
                linhas.append(linha.decode("utf-8", "replace").removesuffix("\r"))
        if self.descartando or len(self.resto) >= MAXIMO:
            # Marca-se na hora, e joga-se fora o que vier: quem não manda o \n não ocupa a memória.
            if not self.descartando:
                linhas.append(None)
            self.resto, self.descartando = b"", True
        return linhas
