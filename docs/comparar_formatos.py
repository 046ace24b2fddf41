"""O mesmo diálogo em texto e em JSON: as linhas, os bytes de cada uma e o que custa tratá-las.

    python docs/comparar_formatos.py             as linhas e os bytes
    python docs/comparar_formatos.py --tempo     também o tempo de codificar e de ler uma mensagem

Nada aqui foi escrito à mão: o diálogo é encenado nas filas de verdade, sem rede. O que Yuri diz passa
pelo formato dele; o que ele lê é o que as filas lhe contaram.
"""

import platform
import sys
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from atendimento.filas import Filas, Participante  # noqa: E402
from atendimento.opcoes import Analisador  # noqa: E402
from atendimento.terminal import aceitar_tudo  # noqa: E402
from protocolo import (  # noqa: E402
    Comando,
    Entrada,
    Fim,
    Formato,
    Json,
    Mensagem,
    Pergunta,
    Resposta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    Transferencia,
)

Passo = list[tuple[str, bytes]]
"""As linhas que Yuri mandou ou leu num passo do diálogo, cada uma com o seu sentido."""

FRASES = (
    ("Yuri", "Olá! O técnico não veio. 😟"),
    ("Ana", 'O pedido é o "A-17"?'),
    ("Yuri", "É esse! Comprei o “kit” em março. 📦"),
)


class Leitor(Participante):
    """Quem guarda, já como bytes, tudo o que as filas lhe contam."""

    def __init__(self, formato: Formato) -> None:
        super().__init__()
        self.formato = formato
        self.lido = b""

    def por_na_caixa(self, comandos: Sequence[Comando | None]) -> None:
        self.lido += b"".join(self.formato.codificar(comando) for comando in comandos if comando)

    entregar = por_na_caixa


class Encenacao:
    """O diálogo num dos formatos, visto por Yuri: `passos` diz o mesmo nos dois, na mesma ordem."""

    def __init__(self, formato: type[Formato]) -> None:
        self.filas = Filas(departamentos=("Vendas", "Suporte"))
        self.passos: list[Passo] = []
        self.programa = formato()  # o lado de Yuri; o do servidor está no participante
        self.yuri, ana, bia, caio = (Leitor(formato(nome)) for nome in ("Yuri", "Ana", "Bia", "Caio"))
        for quem in self.yuri, ana, bia, caio:
            self.filas.admitir(quem)

        self._identificar()
        self.filas.entrar(bia, Tipo.CLIENTE, "Bia", ("Vendas",))  # chegou antes: há fila
        self.filas.entrar(self.yuri, Tipo.CLIENTE, "Yuri", ("Vendas",))
        self._leu()
        self.filas.sair(bia)
        self.filas.publicar_posicoes()
        self._leu()
        self.filas.entrar(ana, Tipo.ATENDENTE, "Ana", ("Vendas",))
        self._leu()
        for quem, texto in FRASES:
            if quem == "Yuri":
                self._disse(Mensagem(quem, (texto,)))
            else:
                self.filas.repassar_chat(ana, Mensagem(quem, (texto,)))
                self._leu()
        self.filas.atender(ana, Transferencia("Suporte"))
        self._leu()
        self.filas.entrar(caio, Tipo.ATENDENTE, "Caio", ("Suporte",))
        self._leu()
        self.filas.atender(caio, Fim())
        self._leu()

    def _identificar(self) -> None:
        """Em JSON a primeira linha já diz o nome; em texto o servidor o pergunta."""
        if isinstance(self.programa, Json):
            self._disse(Entrada(Tipo.CLIENTE, "Vendas", "Yuri"))
            self.passos += [[], []]
        else:
            self._disse(Entrada(Tipo.CLIENTE, "Vendas"))
            self.filas.responder(self.yuri, Pergunta("nome"))
            self._leu()
            self._disse(Resposta("nome", "Yuri"))

    def _disse(self, comando: Comando) -> None:
        self.passos.append([("C → S", self.programa.codificar(comando))])

    def _leu(self) -> None:
        dados, self.yuri.lido = self.yuri.lido, b""
        self.passos.append([("S → C", linha) for linha in dados.splitlines(keepends=True)])


def comparar() -> str:
    """A tabela, em Markdown."""
    linhas = ["| | texto | bytes | JSON | bytes |", "| --- | --- | ---: | --- | ---: |"]
    totais = [0, 0]
    for em_texto, em_json in zip(Encenacao(Texto).passos, Encenacao(Json).passos, strict=True):
        vazias = [("", b"")] * (len(em_texto) - len(em_json))
        for (sentido, texto), (_, objeto) in zip(em_texto, em_json + vazias, strict=True):
            linhas.append(f"| {sentido} | {_celula(texto)} | {_celula(objeto)} |")
            totais = [totais[0] + len(texto), totais[1] + len(objeto)]
    linhas.append(f"| | **total** | **{totais[0]}** | | **{totais[1]}** |")
    return "\n".join(linhas)


def _celula(linha: bytes) -> str:
    return f"`{linha.decode().rstrip()}` | {len(linha)}" if linha else "– | –"


def medir() -> str:
    """Quanto custa a mensagem do meio do diálogo em cada formato, em microssegundos."""
    quem, texto = FRASES[0]
    mensagem = Mensagem(quem, (texto,))
    linhas = ["| | texto | JSON | JSON ÷ texto |", "| --- | ---: | ---: | ---: |"]
    formatos = Texto(quem), Json(quem)  # os do servidor, que já sabe o nome
    fios = [formato.codificar(mensagem) for formato in formatos]
    separados = [SeparadorDeLinhas(formato.maximo).alimentar(fio) for formato, fio in zip(formatos, fios)]
    operacoes = {
        "codificar": [lambda f=formato: f.codificar(mensagem) for formato in formatos],
        "ler, no servidor": [lambda f=f, s=s: f.ler_participante(s) for f, s in zip(formatos, separados)],
        "ler, no programa": [lambda f=f, s=s: f.ler_servidor(s) for f, s in zip(formatos, separados)],
    }
    for nome, (em_texto, em_json) in operacoes.items():
        # Uma rodada passa pelos dois: se a máquina fica ocupada por um instante, atrapalha a ambos.
        rodadas = [(_microssegundos(em_texto), _microssegundos(em_json)) for _ in range(15)]
        do_texto, do_json = (median(tempos) for tempos in zip(*rodadas))
        razao = median(um_json / um_texto for um_texto, um_json in rodadas)
        linhas.append(f"| {nome} | {_numero(do_texto, 2)} µs | {_numero(do_json, 2)} µs | {_numero(razao, 1)} |")
    return "\n".join(linhas)


def _microssegundos(operacao: Callable[[], object], vezes: int = 20_000) -> float:
    return timeit.timeit(operacao, number=vezes) / vezes * 1e6


def _numero(valor: float, casas: int) -> str:
    return f"{valor:.{casas}f}".replace(".", ",")


def main() -> None:
    analisador = Analisador("O mesmo diálogo em texto e em JSON, byte a byte.")
    analisador.chave("--tempo", "mede também o tempo (cerca de 10 s)")
    opcoes = analisador.parse_args()
    aceitar_tudo(sys.stdout)  # há consoles sem setas nem emojis
    print(comparar())
    if opcoes.tempo:
        sistema = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
        print(f"\nMedianas de 15 rodadas; {sistema}:\n\n{medir()}")


if __name__ == "__main__":
    main()
