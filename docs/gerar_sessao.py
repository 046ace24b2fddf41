"""Gera as imagens da documentação a partir de uma sessão de verdade.

    python docs/gerar_sessao.py        (Linux ou macOS)

O servidor, um cliente e um atendente rodam cada um no seu terminal, como numa sala de aula. Quem
digita é este programa: abre pseudoterminais (`pty`), escreve neles as teclas, lê o que os programas
desenham e fotografa as telas em SVG. As fotografias, uma depois da outra, fazem a demonstração em
movimento. Nada aqui é desenhado à mão.

O enredo: Bia chega primeiro, e Yuri é o número 2 na fila. Ana atende Bia; quando Bia sai, é a vez
de Yuri. Uma mensagem de Ana chega no meio de uma frase dele, e o que ele já tinha digitado continua
na tela. Yuri encerra a conversa enquanto Ana lhe escreve: a frase dela não vai para ninguém, e o
Enter que ela aperta só chama o próximo.

São três programas e este quarto, e nenhum sabe quando os outros terminam o que estão fazendo. Por
isso não há um só `sleep`: cada passo espera até ver na tela o que o passo anterior deveria causar.
É o que uma pessoa faz, e é por isso que o resultado não depende da pressa da máquina.
"""

import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from html import escape
from pathlib import Path

RAIZ = Path(__file__).resolve().parent.parent
IMAGENS = RAIZ / "docs" / "img"
sys.path[:0] = [str(RAIZ), str(RAIZ / "tests")]

from atendimento.maquina import endereco_na_rede  # noqa: E402
from pseudoterminal import Emulador, Leitor  # noqa: E402

DA_SALA = "192.168.0.10"
DESTA_MAQUINA = endereco_na_rede() or DA_SALA
"""O endereço que o servidor anuncia é o de quem gera as imagens: no lugar dele se mostra um de uma sala qualquer."""


# --- O terminal: o emulador dos testes, que aqui também guarda as cores ---------------------------

CORES = {31: "vermelho", 32: "verde", 33: "amarelo", 34: "azul", 36: "ciano"}


class Letra(str):
    """Uma letra que sabe a sua cor."""

    cor = ""


class EmuladorColorido(Emulador):
    """O emulador dos testes, com a cor de cada letra."""

    _cor = ""

    def _letra(self, letra: str) -> None:
        colorida = Letra(letra)
        colorida.cor = self._cor
        super()._letra(colorida)

    def _acao(self, acao: str, numero: int, peca: str) -> None:
        if acao == "m":
            self._cor = CORES.get(numero, "")
        super()._acao(acao, numero, peca)


class Terminal(Leitor):
    """Um shell num pseudoterminal, com os dois verbos de quem o usa: digitar e esperar."""

    ALTURA = 50  # linhas

    def __init__(self, titulo: str, colunas: int) -> None:
        self.titulo = titulo
        self.emulador = EmuladorColorido(colunas, self.ALTURA)
        self.pid, descritor = pty.fork()
        if self.pid == 0:
            pasta_do_python = os.path.dirname(sys.executable)
            os.chdir(RAIZ)
            os.environ.update(PS1="$ ", TERM="xterm", PATH=f"{pasta_do_python}:{os.environ['PATH']}")
            os.environ.pop("NO_COLOR", None)
            os.execlp("sh", "sh", "-i")
        super().__init__(descritor)
        fcntl.ioctl(descritor, termios.TIOCSWINSZ, struct.pack("HHHH", self.ALTURA, colunas, 0, 0))
        self.espera("$")

    @property
    def tela(self) -> str:
        return "\n".join(self.emulador.linhas)

    def _recebeu(self, chegou: str) -> None:
        self.emulador.receber(chegou.replace(DESTA_MAQUINA, DA_SALA))

    def digita(self, teclas: str) -> None:
        """Aperta as teclas e espera vê-las na tela, como faz quem digita."""
        os.write(self.descritor, teclas.encode())
        self._le_ate(lambda: self.tela.endswith(teclas), teclas)

    def envia(self, linha: str) -> None:
        """Digita uma linha e aperta Enter."""
        self.digita(linha)
        os.write(self.descritor, b"\r")

    def espera(self, *trechos: str) -> None:
        """Lê até que todos os trechos estejam na tela, nessa ordem."""
        padrao = re.compile(".*".join(map(re.escape, trechos)), re.DOTALL)
        self._le_ate(lambda: padrao.search(self.tela), " … ".join(trechos))

    def espera_prompt(self, prompt: str) -> None:
        """Lê a tela até que a última linha seja só o prompt: o programa quer ouvir."""
        self._le_ate(lambda: self.emulador.linhas[-1] == prompt.rstrip(), prompt)

    def fecha(self) -> None:
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.descritor)
        os.waitpid(self.pid, 0)


# --- A fotografia: uma tela em SVG ----------------------------------------------------------------

LARGURA, ALTURA, CORPO = 8.0, 18, 13.2  # pixels: de uma coluna, de uma linha, da letra
MARGEM, BARRA, VAO = 14, 30, 14  # pixels: em volta do texto; do título da janela; entre janelas
FONTE = "ui-monospace, 'SFMono-Regular', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
PALETA = {
    "": "#d7dce2",
    "vermelho": "#ff7b72",
    "verde": "#7ee787",
    "amarelo": "#e3b341",
    "azul": "#79b8ff",
    "ciano": "#56d4dd",
}
FUNDO, BORDA, TITULO = "#161b22", "#3d444d", "#9198a1"


class Foto:
    """O que havia num terminal num instante."""

    def __init__(self, terminal: Terminal, titulo: str | None = None, ultimas: int = 0) -> None:
        emulador = terminal.emulador
        self.titulo = titulo or terminal.titulo
        self.colunas = emulador.colunas
        ate = max(len(emulador.linhas), emulador.y + 1)
        self.linhas = [list(linha) for linha in emulador.tela[:ate]][-ultimas:]
        self.cursor = (emulador.x, emulador.y - (ate - len(self.linhas)))

    @property
    def largura(self) -> float:
        return self.colunas * LARGURA + 2 * MARGEM

    @property
    def altura(self) -> float:
        return BARRA + len(self.linhas) * ALTURA + 2 * MARGEM - 6

    def svg(self, x: float, y: float, largura: float, altura: float) -> str:
        """A janela, com o canto superior esquerdo em (x, y)."""
        partes = [
            f'<g transform="translate({x:g} {y:g})">',
            f'<rect width="{largura:g}" height="{altura:g}" rx="9" fill="{FUNDO}" stroke="{BORDA}"/>',
            *(f'<circle cx="{18 + 17 * i}" cy="{BARRA / 2:g}" r="5" fill="{BORDA}"/>' for i in range(3)),
            f'<text x="{largura / 2:g}" y="{BARRA / 2 + 4:g}" text-anchor="middle" fill="{TITULO}">'
            f"{escape(self.titulo)}</text>",
        ]
        coluna, linha = self.cursor
        partes.append(
            f'<rect x="{MARGEM + coluna * LARGURA:g}" y="{BARRA + 6 + linha * ALTURA:g}" '
            f'width="{LARGURA:g}" height="{ALTURA - 2}" fill="{PALETA[""]}" opacity="0.8"/>'
        )
        for numero, letras in enumerate(self.linhas):
            base = BARRA + 19 + numero * ALTURA
            for inicio, cor, texto in _trechos(letras):
                # textLength prende cada trecho às suas colunas, seja qual for a fonte de quem vê.
                partes.append(
                    f'<text x="{MARGEM + inicio * LARGURA:g}" y="{base:g}" fill="{PALETA[cor]}" '
                    f'textLength="{len(texto) * LARGURA:g}">{escape(texto)}</text>'
                )
        return "\n".join([*partes, "</g>"])


def _trechos(letras: list[str]) -> list[tuple[int, str, str]]:
    """Agrupa letras seguidas da mesma cor: (coluna, cor, texto), sem espaços nas pontas."""
    trechos: list[tuple[int, str, str]] = []
    for coluna, letra in enumerate(letras):
        cor = getattr(letra, "cor", "")
        if trechos and trechos[-1][1] == cor:
            inicio, _, texto = trechos[-1]
            trechos[-1] = (inicio, cor, texto + letra)
        else:
            trechos.append((coluna, cor, letra))
    aparados = [(inicio + len(texto) - len(texto.lstrip()), cor, texto.strip()) for inicio, cor, texto in trechos]
    # Espaços comuns, há navegadores que juntam.
    return [(inicio, cor, texto.replace(" ", "\N{NO-BREAK SPACE}")) for inicio, cor, texto in aparados if texto]


class Filme:
    """As telas de alguns terminais ao longo do tempo, uma fileira de janelas abaixo da outra."""

    def __init__(self, *fileiras: list[Terminal]) -> None:
        self.fileiras = fileiras
        self.terminais = [terminal for fileira in fileiras for terminal in fileira]
        self.quadros: list[tuple[float, list[Foto]]] = []

    def quadro(self, segundos: float = 1.2) -> None:
        """O que se vê agora, por `segundos`."""
        self.quadros.append((segundos, [Foto(terminal) for terminal in self.terminais]))

    def gravar(self, arquivo: Path, descricao: str) -> None:
        """Um SVG que se repete. Onde não houver animação, vê-se o último quadro."""
        total = sum(segundos for segundos, _ in self.quadros)
        janelas, y = [], 1.0
        largura = max(sum(foto.largura for foto in self._ultimas(fileira)) for fileira in self.fileiras) + VAO
        for fileira in self.fileiras:
            altura = max(foto.altura for terminal in fileira for foto in self._fotos(terminal))
            x = 1.0
            for terminal in fileira:
                ate_a_borda = largura + 1 - x if terminal is fileira[-1] else self._fotos(terminal)[-1].largura
                janelas += self._animar(terminal, total, x, y, ate_a_borda, altura)
                x += ate_a_borda + VAO
            y += altura + VAO
        _gravar_svg(arquivo, descricao, largura + 2, y - VAO + 1, janelas)

    def _fotos(self, terminal: Terminal) -> list[Foto]:
        return [fotos[self.terminais.index(terminal)] for _, fotos in self.quadros]

    def _ultimas(self, fileira: list[Terminal]) -> list[Foto]:
        return [self._fotos(terminal)[-1] for terminal in fileira]

    def _animar(self, terminal: Terminal, total: float, x: float, y: float, largura: float, altura: float) -> list[str]:
        """Os estados de uma janela: cada um só é visível enquanto dura."""
        estados: list[tuple[str, float]] = []  # o desenho e quando começa
        instante = 0.0
        for (segundos, _), foto in zip(self.quadros, self._fotos(terminal)):
            desenho = foto.svg(x, y, largura, altura)
            if not estados or estados[-1][0] != desenho:
                estados.append((desenho, instante))
            instante += segundos
        fins = [comeco for _, comeco in estados[1:]] + [total]
        grupos = []
        for (desenho, comeco), fim in zip(estados, fins):
            de, ate, ultimo = comeco / total, fim / total, fim == total
            grupos.append(
                f'<g visibility="{"visible" if ultimo else "hidden"}"><animate attributeName="visibility" '
                f'calcMode="discrete" dur="{total:g}s" repeatCount="indefinite" '
                f'values="hidden;visible;hidden" keyTimes="0;{de:.4f};{min(ate, 1):.4f}"/>{desenho}</g>'
            )
        return grupos


def gravar(arquivo: Path, descricao: str, fotos: list[Foto]) -> None:
    """Grava as janelas, uma abaixo da outra, todas da mesma largura."""
    largura, y, janelas = max(foto.largura for foto in fotos), 1.0, []
    for foto in fotos:
        janelas.append(foto.svg(1.0, y, largura, foto.altura))
        y += foto.altura + VAO
    _gravar_svg(arquivo, descricao, largura + 2, y - VAO + 1, janelas)


def _gravar_svg(arquivo: Path, descricao: str, largura: float, altura: float, partes: list[str]) -> None:
    cabecalho = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {largura:g} {altura:g}" '
        f'width="{largura:g}" height="{altura:g}" font-family="{FONTE}" font-size="{CORPO}">'
    )
    linhas = [cabecalho, f"<title>{escape(descricao)}</title>", *partes, "</svg>", ""]
    arquivo.write_text("\n".join(linhas), encoding="utf-8")


# --- O enredo -------------------------------------------------------------------------------------


def encenar() -> None:
    servidor = Terminal("servidor", 128)
    servidor.envia("python servidor.py")
    servidor.espera("Aceitando conexões", "outros terminais")

    yuri, ana = Terminal("cliente", 58), Terminal("atendente", 68)
    filme = Filme([servidor], [yuri, ana])
    filme.quadro()

    bia = Terminal("outro cliente", 60)  # fora da foto: está lá para que haja fila
    bia.envia("python cliente.py --nome Bia")
    bia.espera("número 1 na fila")

    filme.quadro()
    yuri.envia("python cliente.py")
    yuri.espera_prompt("Digite seu nome: ")
    filme.quadro(0.8)
    yuri.envia("Yuri")
    yuri.espera("número 2 na fila")
    yuri.espera_prompt("Sua mensagem: ")
    servidor.espera("Yuri (CLIENTE) conectou")
    filme.quadro(1.8)

    ana.envia("python atendente.py")
    ana.espera_prompt("Digite seu nome de atendente: ")
    filme.quadro(0.8)
    ana.envia("Ana")
    ana.espera("falando com Bia.")
    bia.espera("falando com Ana.")
    yuri.espera("número 1 na fila")
    ana.espera_prompt("Sua mensagem para Bia: ")
    servidor.espera("Par formado: Bia")
    filme.quadro(1.8)
    ana.digita("Olá, Bia! Em que posso ajudar?")
    filme.quadro(0.8)
    ana.envia("")
    bia.espera("[Ana]: Olá, Bia!")
    bia.espera_prompt("Sua mensagem para Ana: ")
    bia.envia("Já resolvi, obrigada!")
    ana.espera("[Bia]: Já resolvi, obrigada!")
    bia.espera_prompt("Sua mensagem para Ana: ")
    filme.quadro()
    bia.envia("/sair")

    ana.espera("O cliente Bia desconectou.", "falando com Yuri.")
    yuri.espera("falando com Ana.")
    yuri.espera_prompt("Sua mensagem para Ana: ")
    ana.espera_prompt("Sua mensagem para Yuri: ")
    servidor.espera("Par formado: Yuri")
    filme.quadro(1.8)
    yuri.digita("Meu pedido não ch")
    filme.quadro()
    antes = Foto(yuri, "1. Yuri está digitando", ultimas=2)
    ana.digita("Olá, Yuri! Conte o que houve.")
    filme.quadro(0.8)
    ana.envia("")
    yuri.espera("[Ana]: Olá, Yuri!", "Sua mensagem para Ana: Meu pedido não ch")
    filme.quadro(1.8)
    durante = Foto(yuri, "2. Chega uma mensagem de Ana", ultimas=3)
    yuri.digita("egou.")
    filme.quadro()
    depois = Foto(yuri, "3. Yuri continua de onde estava", ultimas=3)
    yuri.envia("")
    ana.espera("[Yuri]: Meu pedido não chegou.")
    ana.espera_prompt("Sua mensagem para Yuri: ")
    filme.quadro()
    ana.envia("Ele sai hoje para entrega.")
    yuri.espera("[Ana]: Ele sai hoje")
    yuri.espera_prompt("Sua mensagem para Ana: ")
    filme.quadro()
    yuri.envia("Ótimo, obrigado!")
    ana.espera("[Yuri]: Ótimo, obrigado!")
    ana.espera_prompt("Sua mensagem para Yuri: ")
    filme.quadro()
    ana.digita("De nada! Precisando, é só ch")
    yuri.espera_prompt("Sua mensagem para Ana: ")
    yuri.digita("/encerrar")
    filme.quadro()
    yuri.envia("")
    yuri.espera("Você encerrou a conversa.", "Sessão encerrada.")
    yuri.espera_prompt("$")
    ana.espera("O cliente Yuri encerrou a conversa.", "Enter chama o próximo")
    ana.espera_prompt("Sua mensagem: ")
    servidor.espera("Yuri (CLIENTE) será desconectado")
    filme.quadro(2.4)
    ana.envia("")
    ana.espera("Enter chama o próximo", "(Aguardando clientes...)")
    ana.espera_prompt("Sua mensagem: ")
    servidor.espera("Yuri (CLIENTE) será desconectado", "Ana (ATENDENTE) de volta à fila.")
    filme.quadro(4.0)

    filme.gravar(
        IMAGENS / "sessao.svg",
        "O servidor, um cliente e um atendente, cada um no seu terminal, durante dois atendimentos",
    )
    gravar(
        IMAGENS / "meia-linha.svg",
        "Uma mensagem chega enquanto Yuri digita: ela aparece acima, e a meia linha dele continua na tela",
        [antes, durante, depois],
    )
    for terminal in (servidor, yuri, ana):
        print(f"== {terminal.titulo}", terminal.tela, "", sep="\n")
    for terminal in (ana, yuri, bia, servidor):
        terminal.fecha()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    encenar()
