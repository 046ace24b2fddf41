"""O que trafega entre os programas: comandos, linhas e limpeza de texto.

Este módulo é puro: não abre sockets nem cria threads. Bytes entram, comandos saem; comandos
entram, bytes saem. O caminho de uma linha que chega é

    bytes do recv  ->  SeparadorDeLinhas  ->  linhas de texto limpo  ->  Texto.ler_*  ->  comandos

e o de uma linha que sai é `Texto.codificar(comando)`. Fora daqui ninguém corta nem emenda os
prefixos `FILA:`, `CONECTADO:` e `FIM:` da seção 2 do relatório: o resto do projeto só conhece os
tipos desta página, e um segundo formato de fio seria uma segunda classe como `Texto`.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

PORTA_PADRAO = 12345
"""A porta TCP do relatório."""

MAXIMO_DA_LINHA = 4096
"""Bytes de uma linha, contando o `\\n` e o `\\r`: o bastante para uma mensagem comprida, e pouco
o bastante para que ninguém ocupe a memória do servidor com uma linha que não acaba."""

MAXIMO_DO_NOME = 40
"""Caracteres de um nome depois da limpeza."""


# --- Texto de usuário ---------------------------------------------------------------------------

# Um controle apaga a tela ou muda as cores de quem lê; um controle bidirecional faz o texto
# parecer o que não é; os separadores de linha e de parágrafo quebram a linha em alguns programas.
_RETIRADOS = [*range(0x00, 0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_LIMPEZA = {ponto: None for ponto in _RETIRADOS} | {ord("\t"): " "}


def limpar(texto: str) -> str:
    """Devolve `texto` sem controles (categoria Cc), controles bidirecionais e separadores U+2028/9.

    Um TAB vira um espaço. Acentos, emojis e o ZWJ que os une (U+200D) passam intactos.
    """
    return texto.translate(_LIMPEZA)


def validar_nome(texto: str) -> str:
    """Devolve o nome sem espaços nas pontas, ou levanta `ValueError` se ele não serve.

    Servem de 1 a 40 caracteres, sem colchetes: são eles que separam o nome da mensagem no fio.
    """
    nome = limpar(texto).strip()
    if not 1 <= len(nome) <= MAXIMO_DO_NOME or "[" in nome or "]" in nome:
        raise ValueError(f"Nome inválido: use de 1 a {MAXIMO_DO_NOME} caracteres, sem colchetes.")
    return nome


# --- Comandos -----------------------------------------------------------------------------------


class Tipo(enum.Enum):
    """Os dois tipos de usuário do relatório."""

    CLIENTE = "CLIENTE"
    ATENDENTE = "ATENDENTE"


@dataclass(slots=True)
class Entrada:
    """C -> S, a primeira linha: quem se conecta diz o que é."""

    tipo: Tipo


@dataclass(slots=True)
class Pergunta:
    """S -> C, durante a identificação: `campo` é "nome" ou "senha"."""

    campo: str


@dataclass(slots=True)
class Resposta:
    """C -> S, logo depois de uma `Pergunta`: o que foi perguntado."""

    campo: str
    texto: str


@dataclass(slots=True)
class Fila:
    """S -> C: a posição do cliente (1 é o próximo), ou `None` para o atendente que ficou livre."""

    posicao: int | None


@dataclass(slots=True)
class Conectado:
    """S -> C: o par foi formado; começa a conversa com `nome`."""

    nome: str


@dataclass(slots=True)
class Mensagem:
    """Chat, nos dois sentidos: o que `nome` disse, uma linha para cada item de `textos`.

    São várias linhas num comando só porque um `recv` traz várias, e elas passam juntas pelo
    servidor: uma seção crítica e um envio para todas.
    """

    nome: str
    textos: Sequence[str]


@dataclass(slots=True)
class Fim:
    """S -> C: a conversa (ou a conexão) acabou, e por quê. C -> S: quem manda quer encerrar."""

    mensagem: str = ""


@dataclass(slots=True)
class Aviso:
    """S -> C: informa, sem mudar o estado de ninguém."""

    mensagem: str


@dataclass(slots=True)
class LinhaLonga:
    """C -> S: no lugar de uma linha que passou do limite e foi descartada."""


Comando = Entrada | Pergunta | Resposta | Fila | Conectado | Mensagem | Fim | Aviso | LinhaLonga


# --- Enquadramento ------------------------------------------------------------------------------


class SeparadorDeLinhas:
    """Junta os pedaços que o `recv` traz e devolve as linhas que eles completam.

    TCP é um fluxo: uma linha pode chegar em vários pedaços, e um pedaço pode trazer várias linhas.
    O resultado não depende de onde caíram os cortes. A memória fica limitada a uma linha: de uma
    maior que `MAXIMO_DA_LINHA`, tudo até o `\\n` é descartado.
    """

    def __init__(self) -> None:
        self._resto = b""  # o começo de uma linha que ainda não tem o seu \n
        self._descartando = False  # o resto da linha atual passou do limite: pular até o \n

    def alimentar(self, dados: bytes) -> list[str | None]:
        """Devolve, na ordem, as linhas que `dados` completa: já limpas e sem o `\\n`.

        Um `None` marca uma linha longa demais, e aparece assim que ela passa do limite, sem
        esperar o fim dela. Bytes que não são UTF-8 viram U+FFFD.
        """
        if self._descartando:
            _, quebra, dados = dados.partition(b"\n")
            if not quebra:
                return []
            self._descartando = False
        bloco, quebra, self._resto = (self._resto + dados).rpartition(b"\n")
        linhas: list[str | None] = bloco.decode("utf-8", "replace").split("\n") if quebra else []
        # Nada do que a limpeza retira é `isprintable`, e quase todo bloco já chega limpo.
        if not "".join(linhas).isprintable():
            linhas = list(map(limpar, linhas))
        # Só um bloco maior que o limite pode esconder uma linha longa; só aí se mede cada uma.
        if len(bloco) >= MAXIMO_DA_LINHA:
            tamanhos = map(len, bloco.split(b"\n"))
            linhas = [linha if tamanho < MAXIMO_DA_LINHA else None for linha, tamanho in zip(linhas, tamanhos)]
        if len(self._resto) >= MAXIMO_DA_LINHA:
            self._resto, self._descartando = b"", True
            linhas.append(None)
        return linhas


# --- O formato de texto -------------------------------------------------------------------------


# Em UTF-8 um caractere tem no máximo 4 bytes: até aqui, a mensagem cabe na linha com qualquer nome,
# e a linha comum dispensa codificar só para medir.
_CABE_SEMPRE = MAXIMO_DA_LINHA // 4 - MAXIMO_DO_NOME - len("[]: \n")


def _cabe(nome: str, texto: str) -> bool:
    """Diz se a mensagem, com o prefixo e o `\\n`, cabe numa linha do protocolo."""
    return len(f"[{nome}]: {texto}\n".encode()) <= MAXIMO_DA_LINHA


class Texto:
    """O protocolo do relatório: uma linha de texto por comando, com o comando no começo.

    Um objeto por conexão. `nome` é o de quem está do outro lado, vazio até a identificação; é dele
    o prefixo que `ler_participante` reconhece.
    """

    def __init__(self, nome: str = "") -> None:
        self.nome = nome
        self._prefixo = f"[{nome}]: "

    def codificar(self, comando: Comando) -> bytes:
        """Devolve o comando como vai para o fio, com o `\\n` de cada linha."""
        match comando:
            case Mensagem():
                prefixo = f"[{comando.nome}]: "
                linha = prefixo + f"\n{prefixo}".join(comando.textos)
            case Fila():
                linha = f"FILA:{'OK' if comando.posicao is None else comando.posicao}"
            case Conectado():
                linha = f"CONECTADO:{comando.nome}"
            case Fim():
                linha = f"FIM:{comando.mensagem}"
            case Aviso():
                linha = f"AVISO:{comando.mensagem}"
            case Pergunta():
                linha = f"{comando.campo.upper()}:"
            case Entrada():
                linha = comando.tipo.value
            case Resposta():
                linha = comando.texto
            case LinhaLonga():
                raise ValueError("LinhaLonga marca o que foi descartado: não tem forma no fio")
        return f"{linha}\n".encode("utf-8", "replace")

    # No servidor: o que vem de um participante.

    def ler_entrada(self, linha: str | None) -> Entrada:
        """Interpreta a primeira linha da conexão; `ValueError` se não for um dos dois tipos."""
        try:
            return Entrada(Tipo((linha or "").strip()))
        except ValueError:
            raise ValueError("Tipo inválido: envie CLIENTE ou ATENDENTE.") from None

    def ler_resposta(self, campo: str, linha: str | None) -> Resposta:
        """Interpreta a linha que responde à `Pergunta(campo)`; a longa demais vale como vazia."""
        return Resposta(campo, linha or "")

    def ler_participante(self, linhas: Iterable[str | None]) -> list[Comando]:
        """Interpreta o que chegou de quem já se identificou; mensagens seguidas saem juntas.

        O que não é comando é mensagem, e vem sem o prefixo `[nome]: ` de quem a mandou, tenha ele
        vindo na linha ou não. Linhas em branco não dizem nada. A que só passa do limite com o
        prefixo é tão longa quanto as outras.
        """
        comandos: list[Comando] = []
        textos: list[str] = []
        for linha in linhas:
            if linha is None:
                comando: Comando = LinhaLonga()
            elif linha[:4] == "FIM:":
                comando = Fim(linha[4:])
            elif not linha or linha.isspace():
                continue
            else:
                texto = linha.removeprefix(self._prefixo)
                if len(texto) <= _CABE_SEMPRE or _cabe(self.nome, texto):
                    textos.append(texto)
                    continue
                comando = LinhaLonga()
            if textos:
                comandos.append(Mensagem(self.nome, textos))
                textos = []
            comandos.append(comando)
        if textos:
            comandos.append(Mensagem(self.nome, textos))
        return comandos

    # Nos programas de terminal: o que vem do servidor.

    def ler_servidor(self, linhas: Iterable[str | None]) -> list[Comando]:
        """Interpreta o que chegou do servidor; o que não se entende é descartado."""
        return [comando for linha in linhas if linha and (comando := self._ler_linha_do_servidor(linha))]

    @staticmethod
    def _ler_linha_do_servidor(linha: str) -> Comando | None:
        if linha.startswith("["):
            nome, separador, texto = linha[1:].partition("]: ")
            return Mensagem(nome, (texto,)) if separador else None
        palavra, dois_pontos, argumento = linha.partition(":")
        match palavra if dois_pontos else None:
            case "FILA" if argumento == "OK":
                return Fila(None)
            case "FILA" if argumento.isascii() and argumento.isdigit():
                return Fila(int(argumento))
            case "CONECTADO":
                return Conectado(argumento)
            case "FIM":
                return Fim(argumento)
            case "AVISO":
                return Aviso(argumento)
            case "NOME" | "SENHA":
                return Pergunta(palavra.lower())
        return None


def comandos_do_servidor(recv: Callable[[int], bytes]) -> Iterator[Comando]:
    """Os comandos que chegam do servidor, um a um, até o fim do fluxo.

    `recv` é o do socket: quem pede o próximo comando bloqueia nele enquanto não há uma linha inteira.
    """
    separador, formato = SeparadorDeLinhas(), Texto()
    while dados := recv(4096):
        yield from formato.ler_servidor(separador.alimentar(dados))
