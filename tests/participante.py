"""O participante de teste: alguém na outra ponta do fio, com dois verbos, `envia` e `espera`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "docs"))

from conferidor.dialogo import FECHOU, Fio  # noqa: E402

__all__ = ["FECHOU", "PRAZO", "Anfitriao", "Participante"]

PRAZO = 60.0
"""Segundos que se espera pelo que tem de acontecer. São muitos, que a máquina pode estar cheia: só se esgotam se falta
acontecer."""


class Participante(Fio):
    """A conexão crua do conferidor dos alunos, com as exigências de um teste: nada se pula, e o que falta é erro."""

    def __init__(self, *args, **opcoes) -> None:
        super().__init__(*args, prazo=PRAZO, **opcoes)

    def linha(self) -> str | None:
        linha = super().linha()
        assert linha is FECHOU or len(linha.encode()) < 4096, "nenhuma linha do servidor passa de 4096 bytes"
        return linha

    def espera(self, *linhas: str | None) -> None:
        """As próximas linhas têm de ser exatamente estas."""
        for esperada in linhas:
            chegou = self.linha()
            assert chegou == esperada, f"{self.nome or 'alguém'} esperava {esperada!r} e recebeu {chegou!r}"

    def le_ate(self, ultima: str | None) -> list[str | None]:
        """Lê até a linha `ultima`, inclusive; devolve as que vieram antes dela."""
        antes = []
        while (linha := self.linha()) != ultima:
            assert linha is not FECHOU, f"{self.nome or 'alguém'} esperava {ultima!r}, e a conexão acabou"
            antes.append(linha)
        return antes


class Anfitriao:
    """Um servidor, do ponto de vista de quem se conecta a ele."""

    def __init__(self, endereco: tuple) -> None:
        self.endereco = endereco
        self.participantes: list[Participante] = []  # os que ele recebeu, para fechar no fim

    def conecta(self, nome: str = "", buffers: int | None = None) -> Participante:
        """Alguém que ainda não disse nada."""
        participante = Participante(self.endereco, nome, buffers)
        self.participantes.append(participante)
        return participante

    def entra(self, tipo: str, nome: str, *linhas: str, **opcoes) -> Participante:
        """Alguém identificado, que já leu `linhas`: só depois delas se sabe que entrou na fila."""
        participante = self.conecta(nome, **opcoes)
        participante.envia(tipo)
        participante.espera("NOME:")
        participante.envia(nome)
        participante.espera(*linhas)
        return participante

    def cliente(self, nome: str, *linhas: str, **opcoes) -> Participante:
        return self.entra("CLIENTE", nome, *linhas, **opcoes)

    def atendente(self, nome: str, *linhas: str, **opcoes) -> Participante:
        return self.entra("ATENDENTE", nome, *linhas, **opcoes)

    def par(self, cliente: str = "Yuri", atendente: str = "Ana", **opcoes) -> tuple[Participante, Participante]:
        """Um cliente e um atendente que já conversam. As opções são das conexões dos dois."""
        a = self.atendente(atendente, "FILA:OK", **opcoes)
        c = self.cliente(cliente, f"CONECTADO:{atendente}", **opcoes)
        a.espera(f"CONECTADO:{cliente}")
        return c, a

    def fecha_participantes(self) -> None:
        for participante in self.participantes:
            participante.fecha()
